package rounding

import "time"

// A Memory is where an interrupted instruction lay.
type Memory uint8

const (
	// OtherMemory is unknown. It speaks neither for rule J nor against it.
	OtherMemory Memory = iota
	// FileMemory is code that a compiler wrote: a file that stays as it is, or
	// the kernel's.
	FileMemory
	// AnonymousMemory is code made at run time: executable memory that belongs
	// to no file, or that the process fills itself.
	AnonymousMemory
)

// A Sample is the rounding mode of a thread at an instant in user mode.
type Sample struct {
	// Thread is a key of the thread, not 0 and unique while the thread lives.
	Thread uint64
	// CPU is the CPU time of the thread so far.
	CPU time.Duration
	// At is monotonic wall time. An earlier one than before counts as that.
	At time.Duration
	// Mode is bits 13 and 14 of MXCSR: 0 is nearest, 1 to 3 are directed. Other
	// bits are ignored.
	Mode   uint8
	Memory Memory
}

// A Subject is what is judged as one: a process, or a cgroup. It remembers
// nothing for longer than the window. It is not safe for concurrent use.
type Subject struct {
	thresholds Thresholds
	now        time.Duration // wall time of the newest sample
	all        window
	threads    map[uint64]*thread
}

// NewSubject returns a Subject without samples. The thresholds must be valid.
func NewSubject(t Thresholds) *Subject {
	return &Subject{thresholds: t, threads: make(map[uint64]*thread)}
}

// Idle says whether all samples have left the window, so that the caller may
// forget the subject.
func (s *Subject) Idle(now time.Duration) bool {
	return now-s.now > s.thresholds.Window
}

// Threads returns how many threads the subject tells apart.
func (s *Subject) Threads() int { return len(s.threads) }

// Add counts a sample and returns what the window amounts to. A sample that
// comes too soon after another of its thread is left out and decides nothing.
func (s *Subject) Add(x Sample) Decision {
	t := &s.thresholds
	s.now = max(s.now, x.At)
	x.At, x.Mode = s.now, x.Mode&3

	turn := int64(s.now / (t.Window / slots))
	if turn > s.all.turn {
		s.forgetThreads()
	}
	all := s.all.at(turn)

	th := s.threads[x.Thread]
	switch {
	case th == nil && len(s.threads) >= t.MaxThreads:
		all.add(x)
		return t.decide(s.all.sum(), s.now, pairsFactor*t.MinPairs)
	case th == nil || x.CPU < th.last.CPU: // CPU time never falls: this is another thread
		th = newThread(x)
		s.threads[x.Thread] = th
	case x.CPU-th.last.CPU < Spacing:
		return Decision{}
	default:
		th.follow(x, th.at(turn), all)
	}
	th.at(turn).add(x)
	all.add(x)

	d := t.decide(s.all.sum(), s.now, pairsFactor*t.MinPairs)
	if own := t.decide(th.sum(), s.now, t.MinPairs); own.Rule > d.Rule {
		own.Thread = x.Thread
		return own
	}
	return d
}

// forgetThreads makes room for new threads.
func (s *Subject) forgetThreads() {
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
