package main

import (
	"context"
	"runtime"
	"time"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// compileCost measures the compilation of the kernel program's tables.
func compileCost(_ context.Context, _ *bench) error {
	t := newTable("Compiling ban strings", "strings", "ms", "MB allocated", "cells", "MB of cells")
	for _, n := range []int{1000, 50_000, 200_000} {
		var set rules.Set
		for _, text := range banStrings(n) {
			set.Bans = append(set.Bans, rules.Ban{Text: text, Action: rules.Kill})
		}
		var times []int64
		var m *match.Matcher
		var before, after runtime.MemStats
		for range 5 {
			runtime.GC()
			runtime.ReadMemStats(&before)
			begin := time.Now()
			var err error
			if m, err = match.Compile(set); err != nil {
				return err
			}
			times = append(times, time.Since(begin).Milliseconds())
			runtime.ReadMemStats(&after)
		}
		t.add(n, quantile(times, 0.5), megabytes(after.TotalAlloc-before.TotalAlloc), len(m.Cells), megabytes(uint64(len(m.Cells))*16))
	}
	t.print()
	return nil
}
