package execwhacker

import (
	"context"
	"time"

	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/process"
)

// A scanner judges all running processes: those older than the agent, and those
// that have changed their command line since their exec.
type scanner struct {
	judge *judge
	tally *tally
	loop  *health.Loop // nil at a scan without rights
	// told are the processes found at the last scan that live on: they are not
	// reported each time.
	told map[key]bool
}

// Scan looks once at every process that runs. Without a guard in o, the rules must
// all be of action observe.
func Scan(ctx context.Context, o Options) error {
	s := scanner{judge: &judge{guard: o.Guard, report: o.Report, log: o.Log}, tally: new(tally)}
	return s.scan(ctx, &o.Policy)
}

func (s *scanner) scan(ctx context.Context, policy *Policy) error {
	pids, err := process.List()
	if err != nil {
		return err
	}
	found := make(map[key]bool)
	for _, pid := range pids {
		select {
		case <-ctx.Done():
			return nil
		default:
		}
		s.loop.Turn()
		if k, ok := s.look(ctx, policy, pid); ok {
			found[k] = true
		}
	}
	s.told = found
	return nil
}

// look judges one process, and returns its key if it was found and lives on.
func (s *scanner) look(ctx context.Context, policy *Policy, pid int) (key, bool) {
	h, err := process.Open(pid)
	if err != nil {
		return key{}, false // it has ended
	}
	defer h.Close()
	return s.judge.decide(ctx, h, policy, sourceScan, s.tally, s.told)
}

// run scans at once whenever it is told to, and then at the policy's interval, until
// ctx ends.
func (s *scanner) run(ctx context.Context, now <-chan struct{}, policy func() *Policy) error {
	var tick <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-now:
		case <-tick:
		}
		p := policy()
		if p.ScanInterval == 0 {
			tick = nil
			continue
		}
		if err := s.loop.Retry(ctx, func() error { s.loop.Turn(); return s.scan(ctx, p) }); err != nil {
			return err
		}
		tick = time.After(p.ScanInterval)
	}
}
