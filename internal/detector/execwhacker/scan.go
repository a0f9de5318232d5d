package execwhacker

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/process"
)

// maxJudges is how many groups of processes a scan judges at once. One that cannot be
// read keeps no more than its owner's share of them waiting: see process.Reader.
const maxJudges = 8

// A scanner judges running processes: those that nobody has judged by the rules in
// force, because they are older than the agent, or the rules are younger, or the kernel
// left them open.
type scanner struct {
	judge *judge
	tally *tally
	list  func() ([]suspect, error)
	loop  *health.Loop // nil at a scan without rights
	// judged are the execs that were judged by the rules of a generation.
	judged     map[uint64]bool
	generation uint32
	began      time.Duration // since boot: who is older than the kernel's program
}

// A reason to scan.
type reason int

const (
	policyChanged reason = iota // everybody
	execsLost                   // those of which the kernel has judged nothing, or left open
)

// Scan looks once at every process that runs. Without a guard in o, the rules must
// all be of action observe.
func Scan(ctx context.Context, o Options) error {
	s := scanner{judge: &judge{guard: o.Guard, report: o.Report, reader: o.Reader, log: o.Log}, tally: new(tally)}
	s.list = func() ([]suspect, error) { return everybody(o) }
	return s.scan(ctx, &o.Policy, 0, policyChanged)
}

// everybody returns all processes, without records of theirs.
func everybody(o Options) ([]suspect, error) {
	var all []suspect
	if o.Guard != nil {
		list, err := o.Guard.Processes()
		for _, p := range list {
			all = append(all, suspect{Event: p})
		}
		return all, err
	}
	pids, err := process.List()
	for _, pid := range pids {
		if who, err := process.Look(pid); err == nil {
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
func (s *scanner) scan(ctx context.Context, p *Policy, generation uint32, why reason) error {
	if s.judged == nil || s.generation != generation {
		s.judged, s.generation = make(map[uint64]bool), generation
	}
	all, err := s.list()
	if err != nil {
		return err
	}
	groups := make(map[uint64][]suspect)
	var order []uint64
	for i, p := range all {
		key := p.exec
		if key == 0 {
			key = uint64(i) // each on its own; no exec is as old
		}
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], p)
	}
	for exec := range s.judged {
		if groups[exec] == nil {
			delete(s.judged, exec)
		}
	}
	var workers errgroup.Group
	workers.SetLimit(maxJudges)
	done := make(chan uint64, len(order))
	for _, key := range order {
		if s.judged[key] || !s.concerns(why, groups[key][0]) {
			continue
		}
		workers.Go(func() error {
			s.loop.Turn()
			if ctx.Err() == nil && s.decide(ctx, groups[key], p) {
				done <- key
			}
			return nil
		})
	}
	_ = workers.Wait()
	close(done)
	for key := range done {
		s.judged[key] = true
	}
	s.tally.scans.Add(1)
	return nil
}

// chases is how often those are looked for again who are gone when they are to be judged:
// a process can go on in a child, and that in another one, many times a second.
const chases = 100

// decide judges a group; of one that goes on elsewhere, those who run the same now.
func (s *scanner) decide(ctx context.Context, group []suspect, p *Policy) bool {
	for range chases {
		if s.judge.decide(ctx, group, p, sourceScan, s.tally) {
			return true
		}
		if ctx.Err() != nil || s.judge.list == nil || anyAlive(group) {
			return false
		}
		left, err := s.judge.list.of(group[0].exec)
		if err != nil || len(left) == 0 {
			return err == nil
		}
		group = left
	}
	return false
}

// anyAlive reports whether one of the processes has not ended.
func anyAlive(group []suspect) bool {
	for _, p := range group {
		if h, err := p.Open(); err == nil {
			h.Close()
			return true
		}
	}
	return false
}

// run scans at once whenever there is a reason, and at the policy's interval, until ctx
// ends. A scan that fails is tried again.
func (s *scanner) run(ctx context.Context, now <-chan reason, policy func() (*Policy, uint32)) error {
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
		if err := s.loop.Retry(ctx, func() error { s.loop.Turn(); return s.scan(ctx, p, generation, why) }); err != nil {
			return err
		}
	}
}
