package scratchpad

// A window is of one thread, so a rule needs many samples of a thread rather than a few of
// each: 64 find most recorded miners, 128 all. So Samples follows few threads at a time, and
// takes others in turn.
const (
	// MaxThreads is the number of threads that are followed at a time.
	MaxThreads = 4
	// maxIdle is the number of samples of the process without one of a thread, after which
	// another thread takes its turn.
	maxIdle = 1024
	// maxTurn is the number of samples of the process after which another thread takes the
	// turn in any case. It bounds what a process gains by threads that compute now and then.
	// 128 busy threads have 128 samples each in a turn.
	maxTurn = 16384
)

// followed are the threads whose samples are kept. The zero value follows the first ones.
type followed struct {
	seen    int // samples of the process
	threads [MaxThreads]turn
}

type turn struct {
	thread      int32
	since, last int // in samples of the process, 0 for no thread
}

// next counts a sample of the process and reports whether its thread is followed. A thread
// takes a free turn with its first sample, so busy threads are the most likely to.
func (f *followed) next(thread int32) bool {
	f.seen++
	for i := range f.threads {
		if t := &f.threads[i]; t.since > 0 && t.thread == thread {
			t.last = f.seen
			return true
		}
	}
	for i := range f.threads {
		if t := &f.threads[i]; t.since == 0 || f.seen-t.last > maxIdle || f.seen-t.since > maxTurn {
			*t = turn{thread, f.seen, f.seen}
			return true
		}
	}
	return false
}
