package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// startCost measures the time until the agent is ready, and its memory.
func startCost(ctx context.Context, b *bench) error {
	const (
		starts = 7
		later  = 5 * time.Second // after its first scan
	)
	t := newTable("From the start of the agent to protection, and its memory",
		"rules", "seconds", "slowest", "RSS MB", fmt.Sprintf("RSS MB after %v", later), "kernel MB", "reload seconds", "peak RSS MB then")
	for _, r := range ruleSets {
		flags, err := r.flags(b)
		if err != nil {
			return err
		}
		var times []float64
		for range starts - 1 {
			a, err := b.start(ctx, flags...)
			if err != nil {
				return err
			}
			times = append(times, a.ready.Seconds())
			if err := a.stop(); err != nil {
				return err
			}
		}
		a, err := b.start(ctx, flags...)
		if err != nil {
			return err
		}
		times = append(times, a.ready.Seconds())
		atOnce, err1 := a.memory()
		time.Sleep(later)
		after, err2 := a.memory()
		maps := fdinfo(a.cmd.Process.Pid, "map_id")
		reload, err3 := a.reloads()
		end, err4 := a.memory()
		if err := errors.Join(err1, err2, err3, err4, a.stop()); err != nil {
			return err
		}
		var kernel uint64
		for _, size := range maps {
			kernel += size
		}
		t.add(r.name, fmt.Sprintf("%.2f", quantile(times, 0.5)), fmt.Sprintf("%.2f", quantile(times, 1)),
			megabytes(atOnce.VmRSS), megabytes(after.VmRSS), megabytes(kernel), fmt.Sprintf("%.2f", reload.Seconds()), megabytes(end.VmHWM))
	}
	t.note("%d starts each. The kernel's memory is that of the BPF maps. A reload is asked for by SIGHUP; a change of a file is seen 0.8 s after it at the latest.", starts)
	t.print()
	return nil
}

func megabytes(n uint64) string { return fmt.Sprintf("%.1f", float64(n)/1e6) }
