package monero

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// boostPeriod is the time between two interruptions of a CPU: 80 samples a
// second, of threads that run all the time.
const boostPeriod = 12 * time.Millisecond

// A booster raises the sample rate of suspects. A thread alone on its CPU is
// rarely switched out; so one of ours, which does nothing but sleep, runs on that
// CPU for an instant at a time. What runs there is only interrupted, as by any
// timer.
type booster struct {
	log *slog.Logger

	mu    sync.Mutex
	until map[int]time.Time // by CPU; a sleeper runs for each in it
	done  sync.WaitGroup
}

// boost interrupts a CPU until a time, or until ctx ends.
func (b *booster) boost(ctx context.Context, cpu int, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.until == nil {
		b.until = make(map[int]time.Time)
	}
	end, running := b.until[cpu]
	if until.After(end) {
		b.until[cpu] = until
	}
	if !running {
		b.done.Go(func() { b.sleep(ctx, cpu) })
	}
}

// over reports whether the boost of a CPU has ended, and forgets it if so.
func (b *booster) over(cpu int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Now().Before(b.until[cpu]) {
		return false
	}
	delete(b.until, cpu)
	return true
}

func (b *booster) sleep(ctx context.Context, cpu int) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		// A cpuset keeps us away from there. Sleeping elsewhere does no harm, and
		// keeps us from trying again and again.
		b.log.Debug("sample rate not raised", "detector", Name, "cpu", cpu, "err", err)
	}
	// The runtime's timers would fire on another thread.
	pause := unix.NsecToTimespec(boostPeriod.Nanoseconds())
	for ctx.Err() == nil && !b.over(cpu) {
		_ = unix.Nanosleep(&pause, nil)
	}
}

// wait returns when all sleepers have ended.
func (b *booster) wait() { b.done.Wait() }
