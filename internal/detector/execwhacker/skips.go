package execwhacker

import (
	"context"
	"fmt"
	"time"
)

// skipped returns at how many execs the kernel has skipped the program.
func (d *Detector) skipped() (uint64, error) {
	stats, err := d.objs.JudgeExec.Stats()
	if err != nil {
		return 0, fmt.Errorf("reading the program's statistics: %w", err)
	}
	return stats.RecursionMisses, nil
}

// skips returns how many execs may have been judged by nobody, or not by the rules in
// force: the kernel skipped the program, the event was lost by which it leaves a verdict to
// us, or the rules changed meanwhile.
func (d *Detector) skips() (uint64, error) {
	k, err := d.kernelCounts()
	if err != nil {
		return 0, err
	}
	return k.unjudged + k.lostRecords + k.LostEvents() + k.Counters[bpfOwnCounterOUTDATED], nil
}

// watchSkips looks at each interval, until ctx ends, whether there were skips, and
// has a scan look for whom they let through.
func watchSkips(ctx context.Context, interval time.Duration, skips func() (uint64, error), scan func()) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	seen := uint64(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		n, err := skips()
		if err != nil {
			return err
		}
		if n != seen {
			scan()
		}
		seen = n
	}
}
