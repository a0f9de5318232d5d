package verdict

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/report"
)

const (
	// exemptTimeout bounds one attempt to determine whether a process in an unknown container
	// is exempt. Within it the runtime is asked again after exemptPause, because CRI-O
	// reports a container only shortly before the exec of its first program.
	exemptTimeout, exemptPause = 50 * time.Millisecond, 10 * time.Millisecond
	// awaitTimeout is for how long the kernel suspends such a process, where it can:
	// AWAIT_NS in execwhacker's later.bpf.h.
	awaitTimeout = time.Second
	// maxTries bounds the attempts. The pauses between them double from exemptTimeout to
	// maxPause.
	maxTries = 60
	maxPause = time.Second
	// maxPending bounds the pending verdicts, and maxOwnPending those of one owner. Each may
	// hold a descriptor.
	maxPending, maxOwnPending = 256, 32
)

// TooManyUnknown is what Find says of a process for which there was no place. Nothing was determined.
const TooManyUnknown = "too many containers are unknown"

// A Pending has the verdicts that the kernel left to user space and that take time. They do
// not delay other events, and their number is bounded, in all and by owner. It is safe for
// concurrent use.
//
// A process in an unknown container is not killed until the agent knows that it is not
// exempt, so that a wrong rule does not kill the processes that the cluster depends on.
type Pending struct {
	judge *Judge
	// answered is called after each attempt to determine whether a process in an unknown
	// container is exempt, with the time since the first. Only one try of a process is 0.
	answered func(try int, known bool, took time.Duration)
	running  errgroup.Group
	mu       sync.Mutex
	owners   map[string]int // number of pending verdicts by owner
}

// NewPending returns an empty Pending. The caller must call Wait at the end. answered may be
// nil; see the field.
func NewPending(j *Judge, answered func(try int, known bool, took time.Duration)) *Pending {
	if answered == nil {
		answered = func(int, bool, time.Duration) {}
	}
	p := &Pending{judge: j, answered: answered, owners: make(map[string]int)}
	p.running.SetLimit(maxPending)
	return p
}

// Go runs a function in the background for an owner (cgroup.Cgroup.Owner). It returns false if
// too many are pending.
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

// IsLast reports whether no verdict is pending but the one that calls it.
func (p *Pending) IsLast() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := 0
	for _, n := range p.owners {
		all += n
	}
	return all <= 1
}

// Wait waits until all pending verdicts have ended.
func (p *Pending) Wait() { _ = p.running.Wait() }

// Await determines whether a container is exempt, for OutcomeAwaited: the kernel suspends the
// process until the class of its cgroup is stored, or until a timeout. program is the path as
// executed.
func (p *Pending) Await(ctx context.Context, e Event, program string) {
	p.Go(e.Cgroup.Owner, func() {
		began := time.Now()
		_, err := p.exemption(ctx, e, program, awaitTimeout)
		took := time.Since(began)
		inTime := err == nil && took <= exemptTimeout
		p.answered(0, inTime, took)
		if err == nil && !inTime {
			p.answered(1, true, took)
		}
	})
}

// Resolve decides about a process in an unknown container, for OutcomeUnknownContainer. If the
// process is exempt, or that cannot be determined, it is spared, logged with line and counted
// in t. Otherwise Resolve calls kill with line.
func (p *Pending) Resolve(ctx context.Context, e Event, program string, line report.Verdict, t *Tally, kill func(report.Verdict)) {
	p.Find(ctx, e, program, func(by string, took time.Duration) {
		if by == "" {
			line.After += took
			kill(line)
			return
		}
		line.Allowed = by
		p.judge.Record(Exempt, e.Event, line, t)
	})
}

// Find determines the exemption of a process in an unknown container, and calls found with it,
// "" for none, and the time that it took. If it cannot be determined, by says so. If ctx ends
// first, found is not called.
func (p *Pending) Find(ctx context.Context, e Event, program string, found func(by string, took time.Duration)) {
	first, waited := 0, time.Duration(0)
	if e.Took >= awaitTimeout {
		first, waited = 1, awaitTimeout // Await has tried it, while the kernel suspended the process
	}
	if !p.Go(e.Cgroup.Owner, func() {
		began := time.Now()
		pause := exemptTimeout
		for try := range maxTries {
			by, err := p.exemption(ctx, e, program, exemptTimeout)
			p.answered(first+try, err == nil, waited+time.Since(began))
			if err == nil {
				found(by, time.Since(began))
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			pause = min(2*pause, maxPause)
		}
		found("the container runtime has not named its pod", time.Since(began))
	}) {
		found(TooManyUnknown, 0)
	}
}

func (p *Pending) exemption(ctx context.Context, e Event, program string, limit time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if e.SparesNodeRoot && p.judge.Exempt.NodeRoot(e.Event) {
		return exempt.NodeRootExemption, nil
	}
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
