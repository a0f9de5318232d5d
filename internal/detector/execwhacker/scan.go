package execwhacker

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/process"
)

// maxJudges is how many groups of processes a scan judges at once. One that cannot be
// read keeps no more than its owner's share of them waiting: see procread.Reader.
const maxJudges = 8

// A scanner judges running processes: those that nobody has judged by the rules in
// force, because they are older than the agent, or the rules are younger, or the kernel
// left them open.
type scanner struct {
	judge *judge
	tally *tally
	list  func() ([]suspect, error)
	loop  *health.Loop // nil at a scan without rights
	// judged holds the execs that were judged by the rules of a generation, with the one
	// process that was, or the zero value for all that run it. Workers write it, under mu.
	judged     map[uint64]process.Who
	mu         sync.Mutex
	generation uint32
	began      time.Duration // since boot: who is older than the kernel's program
}

// A reason to scan.
type reason int

const (
	policyChanged reason = iota // everybody
	execsLost                   // those of which the kernel has judged nothing, or left open
)

// Scan looks once at every process that runs. Without an inventory in e, the rules must
// all be of action observe.
func Scan(ctx context.Context, e detector.Env, p detector.Policy) error {
	s := scanner{judge: &judge{Judge: e.Judge}, tally: new(tally)}
	s.list = func() ([]suspect, error) { return everybody(e) }
	return s.scan(ctx, &p, 0, policyChanged)
}

// everybody returns all processes, without records of theirs.
func everybody(e detector.Env) ([]suspect, error) {
	var all []suspect
	if e.Inventory != nil {
		list, err := e.Inventory.Processes()
		for _, p := range list {
			all = append(all, suspect{Event: p})
		}
		return all, err
	}
	pids, err := process.List()
	for _, pid := range pids {
		if who, err := process.Identify(pid); err == nil {
			all = append(all, suspect{Event: process.Event{Who: who}})
		}
	}
	return all, err
}

// concerns reports whether a process is to be judged for a reason.
func (s *scanner) concerns(why reason, p suspect) bool {
	return why == policyChanged || p.Start >= s.began || p.open && p.generation == s.generation
}

// scan judges who is left to judge by the rules of a generation.
func (s *scanner) scan(ctx context.Context, p *detector.Policy, generation uint32, why reason) error {
	if s.judged == nil || s.generation != generation {
		s.judged, s.generation = make(map[uint64]process.Who), generation
	}
	all, err := s.list()
	if err != nil {
		return err
	}
	groups := grouped(all)
	s.forget(groups)
	var todo []group
	for _, g := range groups {
		if !s.concluded(g) && s.concerns(why, g[0]) {
			todo = append(todo, g)
		}
	}
	if gone := s.judgeAll(ctx, todo, p); len(gone) > 0 {
		err = s.chase(ctx, gone, p)
	}
	s.tally.scans.Add(1)
	return err
}

// judgeAll judges groups, and returns those whose processes have all ended or execute
// something else by now.
func (s *scanner) judgeAll(ctx context.Context, todo []group, p *detector.Policy) (gone []group) {
	rest, ended := make(chan group, len(todo)), make(chan group, len(todo))
	var workers errgroup.Group
	workers.SetLimit(maxJudges + 1)
	workers.Go(func() error {
		defer close(rest)
		s.quick(ctx, todo, p, rest, ended)
		return nil
	})
	for g := range rest {
		workers.Go(func() error {
			s.loop.Progress()
			if ctx.Err() == nil && s.judge.decide(ctx, g, p, sourceScan, s.tally) {
				s.conclude(g, nil)
			} else if ctx.Err() == nil && !s.judge.anyRuns(g) {
				ended <- g
			}
			return nil
		})
	}
	_ = workers.Wait()
	close(ended)
	for g := range ended {
		gone = append(gone, g)
	}
	return gone
}

// chases is how often those are looked for again who are gone when they are to be judged:
// a process can go on in a child, and that in another one, many times a second.
const chases = 100

// chase judges the processes that run now what groups ran that are gone.
func (s *scanner) chase(ctx context.Context, gone []group, p *detector.Policy) error {
	if s.judge.list == nil {
		return nil
	}
	now, err := s.left(gone)
	var workers errgroup.Group
	workers.SetLimit(maxJudges)
	for _, old := range gone {
		left := now[old[0].exec]
		if len(left) == 0 {
			continue
		}
		workers.Go(func() error {
			s.loop.Progress()
			if s.follow(ctx, left, p) {
				s.conclude(left, nil)
			}
			return nil
		})
	}
	_ = workers.Wait()
	return err
}

// left lists the processes that run now what groups ran, by exec.
func (s *scanner) left(gone []group) (map[uint64]group, error) {
	const few = 4 // lists of one exec cost as much as one of all processes
	now := make(map[uint64]group)
	if len(gone) > few {
		all, err := s.list()
		for _, g := range grouped(all) {
			now[g[0].exec] = g
		}
		delete(now, 0) // whose exec is not known
		return now, err
	}
	for _, g := range gone {
		if g[0].exec == 0 {
			continue
		}
		left, err := s.judge.list.of(g[0].exec)
		if err != nil {
			return nil, err
		}
		now[g[0].exec] = left
	}
	return now, nil
}

// follow judges a group, and if it is gone, those who run the same then.
func (s *scanner) follow(ctx context.Context, g group, p *detector.Policy) bool {
	for range chases {
		if s.judge.decide(ctx, g, p, sourceScan, s.tally) {
			return true
		}
		if ctx.Err() != nil || s.judge.anyRuns(g) {
			return false
		}
		left, err := s.judge.list.of(g[0].exec)
		if err != nil || len(left) == 0 {
			return err == nil
		}
		g = left
	}
	return false
}

// run scans at once whenever there is a reason, and at the policy's interval, until ctx
// ends. A scan that fails is tried again.
func (s *scanner) run(ctx context.Context, now <-chan reason, policy func() (*detector.Policy, uint32)) error {
	var tick <-chan time.Time
	for {
		why := policyChanged
		select {
		case <-ctx.Done():
			return nil
		case why = <-now:
		case <-tick:
		}
		p, generation := policy()
		if p.ScanInterval == 0 && why == policyChanged {
			tick = nil
			continue
		}
		if p.ScanInterval != 0 {
			tick, why = time.After(p.ScanInterval), policyChanged
		}
		if err := s.loop.Retry(ctx, func() error { s.loop.Progress(); return s.scan(ctx, p, generation, why) }); err != nil {
			return err
		}
	}
}
