package execwhacker

import (
	"context"
	"time"

	"github.com/cryptnono/cryptnono/internal/process"
)

// A scanner judges all running processes: those older than the agent, and those
// that have changed their command line since their exec.
type scanner struct {
	judge *judge
	tally *tally
	// told are the processes found at the last scan that live on: they are not
	// reported each time.
	told map[key]bool
}

// Scan looks once at every process that runs, without any program in the
// kernel.
func Scan(ctx context.Context, o Options) error {
	s := scanner{judge: newJudge(o), tally: new(tally)}
	return s.scan(ctx)
}

func (s *scanner) scan(ctx context.Context) error {
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
		if k, ok := s.look(ctx, pid); ok {
			found[k] = true
		}
	}
	s.told = found
	return nil
}

// look judges one process, and returns its key if it was found and lives on.
func (s *scanner) look(ctx context.Context, pid int) (key, bool) {
	h, err := process.Open(pid)
	if err != nil {
		return key{}, false // it has ended
	}
	defer h.Close()
	return s.judge.decide(ctx, h, sourceScan, s.tally, s.told)
}

// run scans at once and then at each interval until ctx ends.
func (s *scanner) run(ctx context.Context, interval time.Duration) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if err := s.scan(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
