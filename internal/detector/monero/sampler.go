package monero

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// raisedPeriod is the time between two context switches on a CPU with a raised sample rate.
// It gives 80 samples a second of a thread that always runs.
const raisedPeriod = 12 * time.Millisecond

// A sampler raises the sample rate of suspects. Samples are taken at context switches, and a
// thread that is alone on its CPU has few of them. So a sleeping thread of the agent wakes
// up on that CPU again and again. A wake-up disturbs the suspect no more than a timer does.
type sampler struct {
	log *slog.Logger

	mu    sync.Mutex
	until map[int]time.Time // by CPU; each entry has a sleeper
	done  sync.WaitGroup
}

// raise raises the sample rate on a CPU until a time, or until ctx ends.
func (s *sampler) raise(ctx context.Context, cpu int, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until == nil {
		s.until = make(map[int]time.Time)
	}
	end, running := s.until[cpu]
	if until.After(end) {
		s.until[cpu] = until
	}
	if !running {
		s.done.Go(func() { s.sleep(ctx, cpu) })
	}
}

// expired reports whether the time for a CPU is over or ctx has ended, and removes the entry of
// the CPU if so.
func (s *sampler) expired(ctx context.Context, cpu int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() == nil && time.Now().Before(s.until[cpu]) {
		return false
	}
	delete(s.until, cpu)
	return true
}

func (s *sampler) sleep(ctx context.Context, cpu int) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		// The agent's cpuset excludes this CPU. Sleep on another one, which is harmless, so
		// that the entry prevents further attempts until its end.
		s.log.Debug("sample rate not raised", "detector", Name, "cpu", cpu, "err", err)
	}
	// time.Sleep would use a timer of the runtime, which fires on another thread.
	pause := unix.NsecToTimespec(raisedPeriod.Nanoseconds())
	for !s.expired(ctx, cpu) {
		_ = unix.Nanosleep(&pause, nil)
	}
}

// wait returns when all sleepers have ended.
func (s *sampler) wait() { s.done.Wait() }
