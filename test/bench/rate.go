package main

import (
	"context"
	"fmt"
	"math/rand/v2"
)

// execRate measures by how much the agent slows down the start of a small program: fork, exec, exit
// and wait.
func execRate(ctx context.Context, b *bench) error {
	const (
		rounds = 20
		execs  = 1500 // of a half round
		size   = 100  // bytes of arguments
	)
	argv := realistic(rand.New(rand.NewPCG(7, 8)), size)
	each := func() (float64, error) {
		took, err := b.execs(ctx, execs, argv)
		return float64(took) / execs, err
	}
	t := newTable(fmt.Sprintf("fork, exec, end and wait with %d bytes of arguments: µs, and slower with the agent by %%", size),
		"rules", "without", "with", "slower", "lower quartile", "upper quartile")
	for _, r := range ruleSets {
		if r.strings != 0 && r.strings != 50_000 {
			continue
		}
		flags, err := r.flags(b)
		if err != nil {
			return err
		}
		c, err := b.compare(ctx, rounds, each, flags...)
		if err != nil {
			return err
		}
		percent := func(q float64) string { return fmt.Sprintf("%+.2f", quantile(c.slower, q)) }
		t.add(r.name, fmt.Sprintf("%.1f", quantile(c.without, 0.5)/1000), fmt.Sprintf("%.1f", quantile(c.with, 0.5)/1000),
			percent(0.5), percent(0.25), percent(0.75))
	}
	t.note("%d rounds of %d execs with and without, on one CPU; medians over the rounds.", rounds, execs)
	t.print()
	return nil
}
