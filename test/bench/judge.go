package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// runs are calls of a BPF program, as the kernel has counted them.
type runs struct {
	count uint64
	took  time.Duration
}

func (r runs) mean() float64 { return float64(r.took) / float64(r.count) }

// during returns the runs of a program while f runs, caused by any process.
func during(p *ebpf.Program, f func() error) (runs, error) {
	before, err := p.Stats()
	if err != nil {
		return runs{}, err
	}
	if err := f(); err != nil {
		return runs{}, err
	}
	after, err := p.Stats()
	if err != nil {
		return runs{}, err
	}
	return runs{after.RunCount - before.RunCount, after.Runtime - before.Runtime}, nil
}

// timed starts an agent with these rules, and calls f with one of its programs while BPF statistics
// are enabled.
func (b *bench) timed(ctx context.Context, r ruleSet, program string, f func(*ebpf.Program) error) (err error) {
	flags, err := r.flags(b)
	if err != nil {
		return err
	}
	a, err := b.start(ctx, flags...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.stop()) }()
	p, err := a.program(program)
	if err != nil {
		return err
	}
	defer p.Close()
	return measured(func() error { return f(p) })
}

// measured calls f while BPF statistics are enabled.
func measured(f func() error) error {
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		return fmt.Errorf("turning on the kernel's statistics of BPF programs: %w", err)
	}
	defer stats.Close()
	return f()
}

// judgeCost measures the judgement of a legitimate exec.
func judgeCost(ctx context.Context, b *bench) error {
	const lines, execs = 10, 200 // different command lines of each size, and execs of each
	sizes := []int{20, 100, 500, 2000}
	texts := []struct {
		name string
		make func(*rand.Rand, int) []string
	}{{"realistic", realistic}, {"random", random}}

	t := newTable("Judging an exec: mean ns by the bytes of its arguments",
		"rules", "text", "20", "100", "500", "2,000", "ns a byte beyond 100")
	var ours, all uint64
	for _, r := range append(slices.Clone(ruleSets), ruleSet{name: "built-in, environment", environment: true}) {
		err := b.timed(ctx, r, "judge_exec", func(p *ebpf.Program) error {
			for _, text := range texts {
				rnd := rand.New(rand.NewPCG(3, 4))
				var means []float64
				for _, size := range sizes {
					var each []float64
					for range lines {
						n, err := during(p, func() error {
							_, err := b.execs(ctx, execs, text.make(rnd, size))
							return err
						})
						if err != nil {
							return err
						}
						each = append(each, n.mean())
						ours += execs + 1
						all += n.count
					}
					means = append(means, quantile(each, 0.5))
				}
				t.add(r.name, text.name, ns(means[0]), ns(means[1]), ns(means[2]), ns(means[3]),
					fmt.Sprintf("%.2f", (means[3]-means[1])/float64(sizes[3]-sizes[1])))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	t.note("Each exec has an environment of %d bytes.", size(environment()))
	t.note("%d execs, of which %.1f %% were other programs'.", all, 100*float64(all-ours)/float64(all))
	t.print()
	return nil
}

func ns(f float64) string { return fmt.Sprintf("%.0f", f) }
