package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// maxArgs is about the most that the kernel takes, for a program that has
// raised its own stack limit; maxArg is less than one argument may have.
const (
	maxArgs = 6<<20 - 1<<16
	maxArg  = 100_000
)

// worstCost measures how long a hostile command line can occupy a CPU.
func worstCost(ctx context.Context, b *bench) error {
	const execs = 4
	limit := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if err := unix.Setrlimit(unix.RLIMIT_STACK, &limit); err != nil {
		return fmt.Errorf("raising the stack limit: %w", err)
	}
	t := newTable(fmt.Sprintf("Judging a hostile exec: %.1f MiB of arguments", float64(maxArgs)/(1<<20)),
		"rules", "text", "ns a byte", "ms in all")
	for _, r := range ruleSets {
		if r.strings == 0 {
			continue
		}
		bans := banStrings(r.strings)
		err := b.timed(ctx, r, "judge_exec", func(p *ebpf.Program) error {
			for _, text := range []struct {
				name string
				word func(*rand.Rand) string
			}{
				{"honest words", func(rnd *rand.Rand) string { return commands[rnd.IntN(len(commands))] }},
				{"bans without their last byte", func(rnd *rand.Rand) string {
					ban := bans[rnd.IntN(len(bans))]
					return ban[:len(ban)-1]
				}},
				{"the first 8 bytes of bans", func(rnd *rand.Rand) string {
					return bans[rnd.IntN(len(bans))][:8]
				}},
			} {
				argv := hostile(text.word)
				n, err := during(p, func() error {
					_, err := b.execs(ctx, execs, argv)
					return err
				})
				if err != nil {
					return err
				}
				// What others execute meanwhile takes next to nothing.
				each := float64(n.took) / (execs + 1)
				t.add(r.name, text.name, fmt.Sprintf("%.1f", each/maxArgs), fmt.Sprintf("%.0f", each/1e6))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	t.print()
	return nil
}

// hostile returns maxArgs bytes of arguments made of words.
func hostile(word func(*rand.Rand) string) []string {
	rnd := rand.New(rand.NewPCG(5, 6))
	return arguments(maxArgs, func() string {
		var b strings.Builder
		for b.Len() < maxArg {
			b.WriteString(word(rnd))
			b.WriteByte(' ')
		}
		return b.String()
	})
}
