package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// execRate measures by how much the agent slows down whole execs: fork, exec,
// end and wait of a tiny program. Rounds with and without it alternate, so that
// what else the machine does falls on both.
func execRate(ctx context.Context, b *bench) error {
	const (
		rounds = 20
		execs  = 1500 // of a half round
		size   = 100  // bytes of arguments
		settle = 300 * time.Millisecond
	)
	argv := realistic(rand.New(rand.NewPCG(7, 8)), size)
	round := func(r ruleSet, protected bool) (float64, error) {
		if !protected {
			took, err := b.execs(ctx, execs, argv)
			return float64(took) / execs, err
		}
		flags, err := r.flags(b)
		if err != nil {
			return 0, err
		}
		a, err := b.start(ctx, flags...)
		if err != nil {
			return 0, err
		}
		time.Sleep(settle) // the first scan
		took, err := b.execs(ctx, execs, argv)
		return float64(took) / execs, errors.Join(err, a.stop())
	}

	t := newTable(fmt.Sprintf("fork, exec, end and wait with %d bytes of arguments: µs, and slower with the agent by %%", size),
		"rules", "without", "with", "slower", "lower quartile", "upper quartile")
	for _, r := range ruleSets {
		if r.strings != 0 && r.strings != 50_000 {
			continue
		}
		var without, with, slower []float64
		for i := range rounds {
			var took [2]float64 // without, with
			for _, which := range []int{i % 2, 1 - i%2} {
				var err error
				if took[which], err = round(r, which == 1); err != nil {
					return err
				}
			}
			without, with = append(without, took[0]), append(with, took[1])
			slower = append(slower, 100*(took[1]/took[0]-1))
		}
		percent := func(q float64) string { return fmt.Sprintf("%+.2f", quantile(slower, q)) }
		t.add(r.name, fmt.Sprintf("%.1f", quantile(without, 0.5)/1000), fmt.Sprintf("%.1f", quantile(with, 0.5)/1000),
			percent(0.5), percent(0.25), percent(0.75))
	}
	t.note("%d rounds of %d execs with and without, on one CPU; medians over the rounds.", rounds, execs)
	t.print()
	return nil
}
