package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/cilium/ebpf"
)

// judgeAgainst measures what the judgement of an honest exec takes in this agent and
// in another one, which judge the same execs. The second of them finds in the caches
// what the first has read, so each is the second in half of the rounds.
func judgeAgainst(ctx context.Context, b *bench) error {
	if b.other == "" {
		return nil
	}
	sizes := []int{20, 100, 500, 2000}
	t := newTable("Judging an exec: median ns by the bytes of its arguments",
		"rules", "agent", "20", "100", "500", "2,000")
	for _, r := range []ruleSet{ruleSets[0], ruleSets[3]} {
		each := make(map[string]map[int][]float64) // by agent and size
		for _, order := range [][]string{{b.other, b.agent}, {b.agent, b.other}} {
			if err := b.pair(ctx, r, order, sizes, each); err != nil {
				return err
			}
		}
		for _, a := range []struct{ name, program string }{{"other", b.other}, {"this", b.agent}} {
			row := []any{r.name, a.name}
			for _, size := range sizes {
				row = append(row, ns(quantile(each[a.program][size], 0.5)))
			}
			t.add(row...)
		}
	}
	t.print()
	return nil
}

// pair starts two agents, one after the other, and adds what each took for execs of
// each size to each.
func (b *bench) pair(ctx context.Context, r ruleSet, order []string, sizes []int, each map[string]map[int][]float64) (err error) {
	const lines, execs = 30, 100 // different command lines of each size, and execs of each
	flags, err := r.flags(b)
	if err != nil {
		return err
	}
	programs := make(map[string]*ebpf.Program)
	for _, program := range order {
		a, err := startAgent(ctx, program, append(flags, "--listen=")...)
		if err != nil {
			return fmt.Errorf("%s: %w", program, err)
		}
		defer func() { err = errors.Join(err, a.stop()) }()
		if programs[program], err = a.program("judge_exec"); err != nil {
			return err
		}
		defer programs[program].Close()
		if each[program] == nil {
			each[program] = make(map[int][]float64)
		}
	}
	return measured(func() error {
		rnd := rand.New(rand.NewPCG(3, 4))
		for range lines {
			for _, size := range sizes {
				argv := realistic(rnd, size)
				first, err := during(programs[order[0]], func() error {
					second, err := during(programs[order[1]], func() error {
						_, err := b.execs(ctx, execs, argv)
						return err
					})
					each[order[1]][size] = append(each[order[1]][size], second.mean())
					return err
				})
				if err != nil {
					return err
				}
				each[order[0]][size] = append(each[order[0]][size], first.mean())
			}
		}
		return nil
	})
}
