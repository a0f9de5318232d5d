package execwhacker

import (
	"context"
	"fmt"
	"time"
)

// recursionMisses returns for how many execs the kernel did not run the program, because it was
// already running on that CPU.
func (d *Detector) recursionMisses() (uint64, error) {
	stats, err := d.entry.Program.Stats()
	if err != nil {
		return 0, fmt.Errorf("reading the program's statistics: %w", err)
	}
	return stats.RecursionMisses, nil
}

// missedExecs returns the number of execs that may not have been judged by the rules in force:
// the kernel did not run the program, an event or a record was lost, the rules changed
// meanwhile, there was no place for a verdict, or a list left a process out, which it does for a second: so no
// process can have scans go on.
func (d *Detector) missedExecs() (uint64, error) {
	k, err := d.kernelCounts()
	if err != nil {
		return 0, err
	}
	if err := d.kept.Alive(k.Counters); err != nil {
		return 0, err
	}
	var skipped uint64
	if err := d.objs.Skipped.Get(&skipped); err != nil {
		return 0, fmt.Errorf("reading how many processes were left out: %w", err)
	}
	return d.unplaced.Load() + skipped + k.unjudged + k.lostRecords + k.LostEvents() + k.Counters[bpfOwnCounterOUTDATED], nil
}

// watchMissed calls scan when the count of missed execs has changed. It checks the count at each
// interval until ctx ends.
func watchMissed(ctx context.Context, interval time.Duration, missed func() (uint64, error), scan func()) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	last := uint64(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		n, err := missed()
		if err != nil {
			return err
		}
		if n != last {
			scan()
		}
		last = n
	}
}
