package rounding

import "time"

// A Code is the kind of code to which an interrupted instruction belongs.
type Code uint8

const (
	UnknownCode Code = iota // ignored by rule J
	FileCode                // in a file that is not modified, or the kernel's vdso
	JITCode                 // written by the process itself: anonymous memory, or a file that it modifies
)

// A Sample is the rounding mode of a thread at an instant in user mode.
type Sample struct {
	// Thread is a key of the thread, not 0 and unique while the thread lives.
	Thread uint64
	// CPU is the CPU time that the thread has used.
	CPU time.Duration
	// At is the monotonic time. If it is before that of the previous sample, the latter is
	// used.
	At time.Duration
	// Mode is bits 13 and 14 of MXCSR: 0 is nearest, 1 to 3 are directed. Only its lowest
	// two bits are used.
	Mode uint8
	Code Code
}

// A Subject is a process or a cgroup whose samples are evaluated together. It keeps no
// samples beyond the window. It is not safe for concurrent use.
type Subject struct {
	thresholds Thresholds
	now        time.Duration // time of the newest sample
	all        window
	threads    map[uint64]*thread
}

// NewSubject returns a Subject without samples. The thresholds must be valid.
func NewSubject(t Thresholds) *Subject {
	return &Subject{thresholds: t, threads: make(map[uint64]*thread)}
}

// Idle reports whether all samples have left the window, so that the caller may drop the
// subject.
func (s *Subject) Idle(now time.Duration) bool {
	return now-s.now > s.thresholds.Window
}

// Threads returns the number of threads that the subject tracks.
func (s *Subject) Threads() int { return len(s.threads) }

// Add counts a sample and returns the decision for the window. A sample less than Spacing
// after the previous one of its thread is ignored, and the decision is then empty.
func (s *Subject) Add(x Sample) Decision {
	t := &s.thresholds
	s.now = max(s.now, x.At)
	x.At, x.Mode = s.now, x.Mode&3

	interval := int64(s.now / (t.Window / slots))
	if interval > s.all.interval {
		s.evictIdle()
	}
	all := s.all.at(interval)

	th := s.threads[x.Thread]
	switch {
	case th == nil && len(s.threads) >= t.MaxThreads:
		all.add(x)
		return t.decide(s.all.sum(), s.now, pairsFactor*t.MinPairs)
	case th == nil || x.CPU < th.last.CPU: // CPU time never decreases: the key is reused
		th = newThread(x)
		s.threads[x.Thread] = th
	case x.CPU-th.last.CPU < Spacing:
		return Decision{}
	default:
		th.addPairs(x, th.at(interval), all)
	}
	th.at(interval).add(x)
	all.add(x)

	d := t.decide(s.all.sum(), s.now, pairsFactor*t.MinPairs)
	if own := t.decide(th.sum(), s.now, t.MinPairs); own.Rule > d.Rule {
		own.Thread = x.Thread
		return own
	}
	return d
}

// evictIdle drops threads without recent samples.
func (s *Subject) evictIdle() {
	idle := s.thresholds.Window
	if len(s.threads) >= s.thresholds.MaxThreads {
		idle = maxPairGap
	}
	for key, th := range s.threads {
		if s.now-th.last.At > idle {
			delete(s.threads, key)
		}
	}
}
