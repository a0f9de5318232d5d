package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/cilium/ebpf"
)

// judgeAgainst measures the judgement of a legitimate exec in this agent and in another one, which
// both judge the same execs. The one that runs second finds the data in the CPU caches, so each is
// second in half of the rounds, and the ratio is the mean of both orders. The placement of a program
// and its tables in memory changes the result by some percent, so each order is measured with
// several pairs of agents.
func judgeAgainst(ctx context.Context, b *bench) error {
	if b.other == "" {
		return nil
	}
	const pairs = 4 // of each order
	sizes := []int{20, 100, 500, 2000}
	t := newTable("Judging an exec: median ns by the bytes of its arguments, of two agents that judge the same execs",
		"rules", "agent", "20", "100", "500", "2,000")
	for _, r := range []ruleSet{ruleSets[0], ruleSets[3]} {
		var orders [2]map[int][][2]float64 // by size: the other's and this one's
		for i := range orders {
			orders[i] = make(map[int][][2]float64)
		}
		for range pairs {
			for i, rounds := range orders {
				if err := b.pair(ctx, r, i == 0, sizes, rounds); err != nil {
					return err
				}
			}
		}
		rows := [][]any{{r.name, "other"}, {r.name, "this"}, {r.name, "this / other"}}
		for _, size := range sizes {
			var other, this []float64
			ratio := 1.0
			for _, rounds := range orders {
				var ratios []float64
				for _, pair := range rounds[size] {
					other, this, ratios = append(other, pair[0]), append(this, pair[1]), append(ratios, pair[1]/pair[0])
				}
				ratio *= quantile(ratios, 0.5)
			}
			rows[0] = append(rows[0], ns(quantile(other, 0.5)))
			rows[1] = append(rows[1], ns(quantile(this, 0.5)))
			rows[2] = append(rows[2], fmt.Sprintf("%.2f", math.Sqrt(ratio)))
		}
		for _, row := range rows {
			t.add(row...)
		}
	}
	t.note("The ratio is the geometric mean of both orders', and of each the median of the rounds' own.")
	t.print()
	return nil
}

// pair starts two agents, one after the other, and adds the times of both for execs of each size to
// rounds. The built-in rules are those of each.
func (b *bench) pair(ctx context.Context, r ruleSet, otherFirst bool, sizes []int, rounds map[int][][2]float64) (err error) {
	const lines, execs = 8, 200 // different command lines of each size, and execs of each
	flags, err := r.flags(b)
	if err != nil {
		return err
	}
	agents := []string{b.other, b.agent}
	programs := make([]*ebpf.Program, len(agents))
	order := []int{0, 1}
	if !otherFirst {
		order = []int{1, 0}
	}
	for _, i := range order {
		a, err := startAgent(ctx, agents[i], append(flags, "--listen=")...)
		if err != nil {
			return fmt.Errorf("%s: %w", agents[i], err)
		}
		defer func() { err = errors.Join(err, a.stop()) }()
		if programs[i], err = a.program("judge_exec"); err != nil {
			return err
		}
		defer programs[i].Close()
	}
	return measured(func() error {
		rnd := rand.New(rand.NewPCG(3, 4))
		for range lines {
			for _, size := range sizes {
				argv := realistic(rnd, size)
				var took [2]runs
				took[0], err = during(programs[0], func() error {
					took[1], err = during(programs[1], func() error {
						_, err := b.execs(ctx, execs, argv)
						return err
					})
					return err
				})
				if err != nil {
					return err
				}
				if min(took[0].count, took[1].count) < execs { // either may miss one: see preempt.bpf.h
					return fmt.Errorf("of %d execs, the agents judged %d and %d", execs, took[0].count, took[1].count)
				}
				rounds[size] = append(rounds[size], [2]float64{took[0].mean(), took[1].mean()})
			}
		}
		return nil
	})
}
