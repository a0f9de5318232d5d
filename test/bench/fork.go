package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/cilium/ebpf"
)

// forkCost measures what the kernel programs for records add to a fork and to a new thread, from its
// creation to its end.
func forkCost(ctx context.Context, b *bench) error {
	const count, rounds = 2000, 6 // of each kind in half a round
	program, settings := filepath.Join(b.dir, "forks"), filepath.Join(b.dir, "nomonero.json")
	if err := compile(ctx, "test/bench/forks/forks.c", program, "-static"); err != nil {
		return err
	}
	if err := os.WriteFile(settings, []byte(`{"monero": {"enabled": false}}`), 0o600); err != nil {
		return err
	}
	forks := func(what string) (float64, error) {
		took, err := nanoseconds(exec.CommandContext(ctx, program, strconv.Itoa(count), what))
		return took / count, err
	}
	flags := []string{"--config", settings, "--listen="}
	t := newTable("Each process and thread that ends at once: ns",
		"what", "without", "with", "slower, %", "lower quartile", "upper quartile",
		"inherit_record", "drop_record", "an empty program", "both more than empty ones", "goal")
	goals := map[string]string{"process": "1200", "thread": "50"}
	for _, what := range []string{"process", "thread"} {
		var inherit, drop runs
		if err := b.beside(ctx, func(a *agent) error {
			return a.eachFork(&inherit, &drop, count, func() error { _, err := forks(what); return err })
		}, flags...); err != nil {
			return err
		}
		var empty runs
		err := emptyProgram("sched_process_fork", func(p *ebpf.Program) error {
			return measured(func() (err error) {
				empty, err = during(p, func() error { _, err := forks(what); return err })
				return err
			})
		})
		if err != nil {
			return err
		}
		c, err := b.compare(ctx, rounds, func() (float64, error) { return forks(what) }, flags...)
		if err != nil {
			return err
		}
		percent := func(q float64) string { return fmt.Sprintf("%+.1f", quantile(c.slower, q)) }
		t.add(what, ns(quantile(c.without, 0.5)), ns(quantile(c.with, 0.5)), percent(0.5), percent(0.25), percent(0.75),
			ns(inherit.mean()), ns(drop.mean()), ns(empty.mean()), ns(inherit.mean()+drop.mean()-2*empty.mean()), goals[what])
	}
	t.note("%d rounds of %d with and without, on one CPU; medians over the rounds. The programs: means by the kernel's own statistics; what they say of an empty one is what measuring takes.", rounds, count)
	t.print()
	return nil
}

// eachFork measures the programs for forks and exits while f creates count processes or threads.
func (a *agent) eachFork(inherit, drop *runs, count uint64, f func() error) error {
	atFork, err := a.program("inherit_record")
	if err != nil {
		return err
	}
	defer atFork.Close()
	atExit, err := a.program("drop_record")
	if err != nil {
		return err
	}
	defer atExit.Close()
	return measured(func() error {
		var err error
		*inherit, err = during(atFork, func() (err error) { *drop, err = during(atExit, f); return err })
		if err == nil && (inherit.count < count || drop.count < count) {
			err = fmt.Errorf("of %d forks, the programs saw %d begin and %d end", count, inherit.count, drop.count)
		}
		return err
	})
}
