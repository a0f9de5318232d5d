package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
)

// switchCost measures what a context switch costs with the agent.
func switchCost(ctx context.Context, b *bench) error {
	const turns, rounds = 300_000, 15 // of two switches each
	program := filepath.Join(b.dir, "pingpong")
	if err := compile(ctx, "test/bench/pingpong/pingpong.c", program); err != nil {
		return err
	}
	pingpong := func(mode string) (float64, error) {
		out, err := exec.CommandContext(ctx, program, strconv.Itoa(turns), mode).Output()
		if err != nil {
			return 0, fmt.Errorf("running %s: %w", program, err)
		}
		ns, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
		return ns / turns / 2, err
	}

	t := newTable("Looking at a context switch: mean ns", "threads in mode", "ns")
	err := b.timed(ctx, ruleSets[0], "sample_mode", func(p *ebpf.Program) error {
		for _, mode := range []string{"nearest", "up"} {
			n, err := during(p, func() error { _, err := pingpong(mode); return err })
			if err != nil {
				return err
			}
			t.add(mode, ns(n.mean()))
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.print()

	var without, slower []float64
	for i := range rounds {
		var took [2]float64 // without, with
		for _, which := range []int{i % 2, 1 - i%2} {
			if took[which], err = b.beside(ctx, which == 1, func() (float64, error) { return pingpong("nearest") }); err != nil {
				return err
			}
		}
		without = append(without, took[0])
		slower = append(slower, 100*(took[1]/took[0]-1))
	}
	t = newTable("Pipe ping-pong on one CPU", "ns a switch without", "slower with the agent by %", "lower quartile", "upper quartile")
	percent := func(q float64) string { return fmt.Sprintf("%+.2f", quantile(slower, q)) }
	t.add(ns(quantile(without, 0.5)), percent(0.5), percent(0.25), percent(0.75))
	t.note("%d rounds of %d switches with and without; medians over the rounds.", rounds, 2*turns)
	t.print()
	return nil
}

// beside calls f, with an agent that protects at that time if it is wanted.
func (b *bench) beside(ctx context.Context, wanted bool, f func() (float64, error)) (float64, error) {
	if !wanted {
		return f()
	}
	a, err := b.start(ctx)
	if err != nil {
		return 0, err
	}
	time.Sleep(300 * time.Millisecond) // the first scan
	result, err := f()
	return result, errors.Join(err, a.stop())
}

// killTime measures how long a miner lives, from its first hash on.
func killTime(ctx context.Context, b *bench) error {
	const runs = 20
	if runtime.GOARCH != "amd64" {
		return nil
	}
	program := filepath.Join(b.dir, "python3")
	if err := compile(ctx, "test/victims/randomx_miner.c", program, "-lrandomx"); err != nil {
		return err
	}
	t := newTable("The life of a miner from its first hash to the kill: seconds", "miner", "machine", "least", "median", "90 %", "most")
	for _, c := range []struct {
		name, kind, machine string
		others              int // that want a CPU
	}{
		{"one thread, compiled", "jit", "idle", 0},
		{"one thread, compiled", "jit", "busy", 2 * runtime.NumCPU()},
		{"one thread, interpreted", "interpreter", "idle", 0},
	} {
		var lives []float64
		for range runs {
			life, err := b.mine(ctx, program, c.kind, c.others)
			if err != nil {
				return err
			}
			lives = append(lives, life.Seconds())
		}
		s := func(q float64) string { return fmt.Sprintf("%.2f", quantile(lives, q)) }
		t.add(c.name, c.machine, s(0), s(0.5), s(0.9), s(1))
	}
	t.note("%d runs each, every one with a new agent; busy: two endless loops for each CPU beside it.", runs)
	t.print()
	return nil
}

// mine runs a miner until an agent kills it.
func (b *bench) mine(ctx context.Context, program, kind string, others int) (life time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	settings := filepath.Join(b.dir, "monero.json")
	if err := os.WriteFile(settings, []byte(`{"execwhacker": {"enabled": false}}`), 0o600); err != nil {
		return 0, err
	}
	a, err := b.start(ctx, "--config", settings, "--action", "kill")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, a.stop()) }()
	for range others {
		loop := exec.Command("/bin/sh", "-c", "while :; do :; done")
		if err := loop.Start(); err != nil {
			return 0, err
		}
		defer func() { _ = loop.Process.Kill(); _ = loop.Wait() }()
	}
	miner := exec.CommandContext(ctx, program, "1", "light", kind)
	stdout, err := miner.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := miner.Start(); err != nil {
		return 0, err
	}
	_, err = bufio.NewReader(stdout).ReadString('\n') // it mines
	began := time.Now()
	_ = miner.Wait() // killed
	if err == nil {
		err = ctx.Err()
	}
	return time.Since(began), err
}

// compile compiles a C program.
func compile(ctx context.Context, source, program string, flags ...string) error {
	args := append([]string{"-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", program, source}, flags...)
	if out, err := exec.CommandContext(ctx, "cc", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("compiling %s: %w\n%s", source, err, out)
	}
	return nil
}
