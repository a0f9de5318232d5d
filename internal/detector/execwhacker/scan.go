package execwhacker

import (
	"context"
	"sync"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/process"
)

// A scanner judges the running processes that were not judged by the rules in force: they are
// older than the agent or than the rules, or the kernel left them to user space.
type scanner struct {
	judge *judge
	tally *tally
	list  func() ([]suspect, error)
	loop  *health.Loop // nil for Scan
	// judged has the execs that were judged by the rules of generation, with the one process
	// that was judged, or the zero value for all processes of the exec. Workers write it,
	// under mu.
	judged     map[uint64]process.Instance
	mu         sync.Mutex
	generation uint32
	began      time.Duration // since boot; older processes were not seen by the kernel program
}

// A reason is why a scan is done. It selects the processes.
type reason int

const (
	policyChanged reason = iota // all processes
	execsLost                   // those whose exec was missed or left to user space
)

// Scan judges all running processes once. Without an inventory in e, all rules must have the
// action observe.
func Scan(ctx context.Context, e detector.Env, p detector.Policy) error {
	s := scanner{judge: &judge{Judge: e.Judge}, tally: new(tally)}
	processes := 0
	s.list = func() ([]suspect, error) {
		all, err := allProcesses(e)
		processes = len(all)
		return all, err
	}
	err := s.scan(ctx, &p, 0, policyChanged)
	e.Log.Info("scan ended", "detector", Name, "processes", processes)
	return err
}

// allProcesses returns all processes, without records.
func allProcesses(e detector.Env) ([]suspect, error) {
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

// isDue reports whether a scan for this reason judges a process.
func (s *scanner) isDue(why reason, p suspect) bool {
	return why == policyChanged || p.Start >= s.began || p.open && p.generation == s.generation
}

// scan judges the processes that were not judged by the rules of a generation.
func (s *scanner) scan(ctx context.Context, p *detector.Policy, generation uint32, why reason) error {
	if s.judged == nil || s.generation != generation {
		s.judged, s.generation = make(map[uint64]process.Instance), generation
	}
	all, err := s.list()
	if err != nil {
		return err
	}
	groups := grouped(all)
	s.dropEnded(groups)
	var todo []group
	for _, g := range groups {
		if !s.isJudged(g) && s.isDue(why, g[0]) {
			todo = append(todo, g)
		}
	}
	if gone := s.judgeAll(ctx, todo, p); len(gone) > 0 {
		err = s.judgeSuccessors(ctx, gone, p)
	}
	s.tally.scans.Add(1)
	return err
}

// judgeAll judges groups, and returns those whose processes have all ended or executed another
// program meanwhile. A process that cannot be read delays only those of its owner.
func (s *scanner) judgeAll(ctx context.Context, todo []group, p *detector.Policy) (gone []group) {
	ended := make(chan group, len(todo))
	t := newTurns()
	t.each(todo, func(owner string, groups []group) {
		for _, g := range s.quick(ctx, t, owner, groups, p, ended) {
			t.judges.Do(func() {
				s.loop.Progress()
				if ctx.Err() == nil && s.judge.decide(ctx, g, p, sourceScan, s.tally) {
					s.markJudged(g, nil)
				} else if ctx.Err() == nil && !s.judge.anyRuns(g) {
					ended <- g
				}
			})
		}
	})
	close(ended)
	for g := range ended {
		gone = append(gone, g)
	}
	return gone
}

// maxSuccessors is how many times a scan lists the forks of a process that has ended before it
// was judged: a process can fork and exit many times a second to avoid being judged.
const maxSuccessors = 100

// judgeSuccessors judges the forks of groups that are gone.
func (s *scanner) judgeSuccessors(ctx context.Context, gone []group, p *detector.Policy) error {
	if s.judge.list == nil {
		return nil
	}
	successors, err := s.successors(gone)
	t := newTurns()
	t.each(gone, func(_ string, groups []group) {
		for _, old := range groups {
			next := successors[old[0].exec]
			if len(next) == 0 {
				continue
			}
			t.judges.Do(func() {
				s.loop.Progress()
				if s.judgeChain(ctx, next, p) {
					s.markJudged(next, nil)
				}
			})
		}
	})
	return err
}

// successors returns the processes that now run the programs of groups, by exec.
func (s *scanner) successors(gone []group) (map[uint64]group, error) {
	const few = 4 // each list, also of one exec, costs a pass over all processes
	now := make(map[uint64]group)
	if len(gone) > few {
		all, err := s.list()
		for _, g := range grouped(all) {
			now[g[0].exec] = g
		}
		delete(now, 0) // processes whose exec is unknown
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

// judgeChain judges a group; if it is gone, the group's forks, and so on. It returns whether the
// verdicts are final.
func (s *scanner) judgeChain(ctx context.Context, g group, p *detector.Policy) bool {
	for range maxSuccessors {
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

// run scans when there is a reason, and at the interval of the policy, until ctx ends. It
// retries a scan that fails.
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
