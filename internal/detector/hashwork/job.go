package hashwork

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/hashwork/scratchpad"
	"github.com/cryptnono/cryptnono/internal/fair"
	"github.com/cryptnono/cryptnono/internal/process"
)

// A job is a program that is due to be examined. It holds all that a worker needs, because the
// program may be forgotten meanwhile.
type job struct {
	key          process.Execution
	by           fair.Owner // of the newest sample
	uid          uint32     // the same
	owner        string     // whose limits are used: Cgroup.Owner
	samples      int        // of the program until now
	instructions []uint64   // of the last samples
	registers    *scratchpad.Samples
	credit       *credit
	missed       *atomic.Bool // see group
	byGroup      bool         // it is not due because of its own samples
	state        *state
	policy       *policy
}

// Owner implements fair.Job.
func (j job) Owner() string { return j.owner }

// run implements task.
func (j job) run(ctx context.Context, v *verdicts) { v.attempt(ctx, j) }

// A task is what a worker does: a job, or a busyJob.
type task interface {
	fair.Job
	// run does it, in examineTime at most.
	run(ctx context.Context, v *verdicts)
}

// A state is shared by the goroutine that reads samples and the workers.
type state struct {
	pending  atomic.Bool   // in the queue or with a worker
	retryAt  atomic.Int64  // time.Duration: monotonic time before which it is not examined again
	reported atomic.Uint32 // strength: the greatest that was acted on
	imageAt  atomic.Int64  // number of samples from which on its memory is searched again

	// filesDone is how many of the files beyond the first were considered: see chosen. It is for the
	// worker that examines the process.
	filesDone int
	filesFrom int // filesDone before the last examination

	// The page faults and the CPU time of the process when it was last examined. They are for the
	// worker that examines it.
	faults    uint64
	faultsCPU time.Duration
}

// begin begins an examination at a monotonic time, unless there is one or it is too early.
func (s *state) begin(now time.Duration) bool {
	return now >= time.Duration(s.retryAt.Load()) && s.pending.CompareAndSwap(false, true)
}

// end ends an examination. The next one is not before the monotonic time at.
func (s *state) end(at time.Duration) {
	s.retryAt.Store(int64(at))
	s.pending.Store(false)
}

// reopen makes a process that was reported eligible again.
func (s *state) reopen() {
	s.retryAt.Store(0)
	s.reported.Store(0)
}

// imageDue reports whether the memory of a process with n samples is to be searched: at first,
// and each time that the number has doubled, since a search of memory is not remembered.
func (s *state) imageDue(n int) bool { return int64(n) >= s.imageAt.Load() }

// imageSearched tells that its memory was searched.
func (s *state) imageSearched(n int) { s.imageAt.Store(2 * int64(n)) }

// searchAgain has the next examination search what the last one has: for what was found by turns, or in
// memory, would not be found again soon. It is for the worker that examines the process.
func (s *state) searchAgain() {
	s.filesDone = s.filesFrom
	s.imageAt.Store(0)
}

// faultRate returns the page faults of the process in a second of CPU time: since its start, so that
// a long hash in new memory has those of its beginning, or since the last call, if they are more. It
// is for the worker that examines the process.
func (s *state) faultRate(pid int) (float64, error) {
	faults, cpu, err := process.Faults(pid)
	if err != nil {
		return 0, err
	}
	rate := func(n uint64, in time.Duration) float64 { return float64(n) / max(in, process.ClockTick).Seconds() }
	most := max(rate(faults, cpu), rate(faults-s.faults, cpu-s.faultsCPU))
	s.faults, s.faultsCPU = faults, cpu
	return most, nil
}
