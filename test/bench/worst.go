package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"golang.org/x/sys/unix"
)

// maxArgs is near the kernel's limit for a program with a raised stack limit; maxArg is below the
// limit for one argument.
const (
	maxArgs = 6<<20 - 1<<17
	maxArg  = 100_000
)

// A text is a kind of hostile command line.
type text struct {
	name string
	word func(rnd *rand.Rand, bans []string) string
}

func hostileTexts() []text {
	return []text{
		{"honest words", func(rnd *rand.Rand, _ []string) string { return commands[rnd.IntN(len(commands))] }},
		{"bans without their last byte", func(rnd *rand.Rand, bans []string) string {
			ban := bans[rnd.IntN(len(bans))]
			return ban[:len(ban)-1]
		}},
		{"the first 8 bytes of bans", func(rnd *rand.Rand, bans []string) string {
			for {
				if ban := bans[rnd.IntN(len(bans))]; len(ban) > 8 { // or it would be a ban
					return ban[:8]
				}
			}
		}},
		{"beginnings of allowed words", func(rnd *rand.Rand, _ []string) string {
			return []string{"allowed-", "allowed", "fine-", "one-2 other", "yspared-"}[rnd.IntN(5)]
		}},
	}
}

// worstCost measures how long the judgement of a hostile command line takes, and for how long it
// holds the CPU. Each command line ends with a ban, so that each verdict is logged; undecided execs
// do not count.
func worstCost(ctx context.Context, b *bench) error {
	limit := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if err := unix.Setrlimit(unix.RLIMIT_STACK, &limit); err != nil {
		return fmt.Errorf("raising the stack limit: %w", err)
	}
	t := newTable(fmt.Sprintf("Judging a hostile exec: %.1f MiB of arguments that end in a ban", float64(maxArgs)/(1<<20)),
		"rules", "allow patterns", "text", "ms to the verdict", "most", "in the hook, ms in all", "late, ms 99 %", "99.9 %", "most", "without: 99 %", "99.9 %", "most")
	t.note("In the hook: the program's time by the kernel's statistics, of %d such execs.", worstExecs+1)
	t.note("Late: by how much a real-time thread was woken on that CPU, which slept 0.2 ms at a time; and without an agent, before.")
	for _, n := range []int{3, 50_000} {
		for _, allowed := range []int{0, 64} {
			if err := b.worst(ctx, t, ruleSet{name: fmt.Sprintf("%d strings", n), strings: n, allowed: allowed}); err != nil {
				return err
			}
		}
	}
	t.print()
	return nil
}

const worstExecs = 6

// worst adds the rows of one set of rules.
func (b *bench) worst(ctx context.Context, t *table, r ruleSet) (err error) {
	flags, err := r.flags(b)
	if err != nil {
		return err
	}
	bans := banStrings(r.strings)
	execute := func(text text) ([]float64, error) {
		argv := hostile(text, bans)
		return late(func() error {
			_, err := b.execs(ctx, worstExecs, argv)
			return err
		})
	}
	var without [][]float64
	for _, text := range hostileTexts() {
		delays, err := execute(text)
		if err != nil {
			return err
		}
		without = append(without, delays)
	}
	for i, text := range hostileTexts() {
		row, err := b.worstWith(ctx, flags, func() ([]float64, error) { return execute(text) })
		if err != nil {
			return fmt.Errorf("%s, %s: %w", r.name, text.name, err)
		}
		for _, d := range [][]float64{row.delays, without[i]} {
			row.cells = append(row.cells, ms(quantile(d, 0.99)), ms(quantile(d, 0.999)), ms(quantile(d, 1)))
		}
		t.add(append([]any{r.name, r.allowed, text.name}, row.cells...)...)
	}
	return nil
}

// A worstRow has the agent's times for such execs, and the delays of another thread meanwhile.
type worstRow struct {
	cells  []any
	delays []float64
}

// worstWith measures with a separate agent, because an agent suppresses the lines of equal verdicts.
func (b *bench) worstWith(ctx context.Context, flags []string, execute func() ([]float64, error)) (r worstRow, err error) {
	a, err := b.start(ctx, flags...)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, a.stop()) }()
	p, err := a.program("judge_exec")
	if err != nil {
		return r, err
	}
	defer p.Close()
	var hook runs
	err = measured(func() (err error) {
		hook, err = during(p, func() (err error) {
			r.delays, err = execute()
			return err
		})
		return err
	})
	if err != nil {
		return r, err
	}
	found, err := a.verdicts(worstExecs + 1)
	if err != nil {
		return r, err
	}
	var took []float64
	for _, v := range found {
		if v.Action != "observed" {
			return r, fmt.Errorf("an exec was %s", v.Action)
		}
		took = append(took, v.After)
	}
	r.cells = []any{ms(quantile(took, 0.5)), ms(quantile(took, 1)), ms(hook.took.Seconds())}
	return r, nil
}

func ms(seconds float64) string { return fmt.Sprintf("%.2f", seconds*1e3) }

// hostile returns maxArgs bytes of arguments of a text, with a ban as the last one if there are any.
func hostile(text text, bans []string) []string {
	rnd := rand.New(rand.NewPCG(5, 6))
	argv := arguments(maxArgs, func() string {
		var b strings.Builder
		for b.Len() < maxArg {
			b.WriteString(text.word(rnd, bans))
			b.WriteByte(' ')
		}
		return b.String()
	})
	if len(bans) > 0 {
		argv = append(argv, bans[len(bans)-1])
	}
	return argv
}
