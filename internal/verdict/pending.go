package verdict

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/report"
)

const (
	// exemptTimeout bounds one try to find out whether a process in an unknown container is
	// exempt. In that time a runtime that does not know the container is asked again after
	// exemptPause: CRI-O knows a container when it is complete, shortly before the exec of
	// its first program.
	exemptTimeout, exemptPause = 50 * time.Millisecond, 10 * time.Millisecond
	// awaitTimeout is how long a kernel that can holds such a process: AWAIT_NS in
	// execwhacker's later.bpf.h.
	awaitTimeout = time.Second
	// After that it is tried again, so often and after pauses that double from
	// exemptTimeout to tryPause.
	tries    = 60
	tryPause = time.Second
	// maxPending is how many verdicts are pending at once, and maxOwnPending how many of
	// one owner. Each may hold a descriptor.
	maxPending, maxOwnPending = 256, 32
)

// Pending are verdicts that the kernel left to user space, and that take time. They do not
// hold up other events, and are bounded, in all and by owner. It is safe for concurrent use.
//
// A process in an unknown container is not killed before it is known whether it is exempt: a
// wrong rule must not take down what keeps the cluster running.
type Pending struct {
	judge *Judge
	// answered, if not nil, is called for each try to find out whether a process in an
	// unknown container is exempt, with the time since the first.
	answered func(try int, known bool, took time.Duration)
	running  errgroup.Group
	mu       sync.Mutex
	owners   map[string]int // how many are pending of each
}

// NewPending returns a Pending that must be waited for. answered may be nil; see the field.
func NewPending(j *Judge, answered func(try int, known bool, took time.Duration)) *Pending {
	if answered == nil {
		answered = func(int, bool, time.Duration) {}
	}
	p := &Pending{judge: j, answered: answered, owners: make(map[string]int)}
	p.running.SetLimit(maxPending)
	return p
}

// Go runs a function without waiting for it, for an owner of cgroup.Cgroup. It returns false
// if too many are pending.
func (p *Pending) Go(owner string, run func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.owners[owner] >= maxOwnPending {
		return false
	}
	started := p.running.TryGo(func() error {
		run()
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.owners[owner]--; p.owners[owner] == 0 {
			delete(p.owners, owner)
		}
		return nil
	})
	if started {
		p.owners[owner]++
	}
	return started
}

// Wait waits until all verdicts are made, or given up because of the end of their contexts.
func (p *Pending) Wait() { _ = p.running.Wait() }

// Await finds out whether a container is exempt, and so tells the kernel, which holds the
// process until it knows, for a while: OutcomeAwaited. program is the path as executed.
func (p *Pending) Await(ctx context.Context, e Event, program string) {
	p.Go(e.Cgroup.Owner, func() {
		began := time.Now()
		_, err := p.exemption(ctx, e, program, awaitTimeout)
		took := time.Since(began)
		p.answered(0, err == nil && took <= exemptTimeout, took)
	})
}

// Resolve decides about a process of which it is not known whether its container is exempt:
// OutcomeUnknownContainer. If the process is exempt, or that cannot be found out, it is
// spared, logged with line and counted in t. Otherwise kill is called, with line.
func (p *Pending) Resolve(ctx context.Context, e Event, program string, line report.Verdict, t *Tally, kill func(report.Verdict)) {
	spare := func(by string) {
		line.Allowed = by
		p.judge.Record(Exempt, e.Event, line, t)
	}
	if !p.Go(e.Cgroup.Owner, func() {
		began := time.Now()
		pause := exemptTimeout
		for try := range tries {
			by, err := p.exemption(ctx, e, program, exemptTimeout)
			p.answered(try, err == nil, time.Since(began))
			switch {
			case err == nil && by != "":
				spare(by)
				return
			case err == nil:
				line.After += time.Since(began)
				kill(line)
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			pause = min(2*pause, tryPause)
		}
		spare("its container is unknown")
	}) {
		spare("too many containers are unknown")
	}
}

func (p *Pending) exemption(ctx context.Context, e Event, program string, limit time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		by, err := p.judge.Exempt.Find(ctx, e.Event, program)
		if err == nil {
			return by, nil
		}
		select {
		case <-ctx.Done():
			return "", err
		case <-time.After(exemptPause):
		}
	}
}
