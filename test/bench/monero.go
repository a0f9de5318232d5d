package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// fpuTracepoint is the tracepoint of the monero detector on x86-64.
const fpuTracepoint = "x86_fpu_regs_deactivated"

// switchCost measures the time of a context switch with the agent, and with an empty program instead.
func switchCost(ctx context.Context, b *bench) error {
	const turns, rounds = 100_000, 30 // of two switches each
	program := filepath.Join(b.dir, "pingpong")
	if err := compile(ctx, "test/bench/pingpong/pingpong.c", program); err != nil {
		return err
	}
	pingpong := func(mode string) (float64, error) {
		ns, err := nanoseconds(exec.CommandContext(ctx, program, strconv.Itoa(turns), mode))
		return ns / turns / 2, err
	}

	t := newTable("Looking at a context switch: mean ns", "program", "threads in mode", "ns")
	for _, mode := range []string{"nearest", "up"} {
		var n runs
		measure := func(p *ebpf.Program) (err error) {
			n, err = during(p, func() error { _, err := pingpong(mode); return err })
			return err
		}
		err := emptyProgram(fpuTracepoint, func(p *ebpf.Program) error {
			return measured(func() error { return measure(p) })
		})
		if err != nil {
			return err
		}
		t.add("empty", mode, ns(n.mean()))
		if err := b.timed(ctx, ruleSets[0], "sample_mode", measure); err != nil {
			return err
		}
		t.add("the agent's", mode, ns(n.mean()))
	}
	t.note("What the kernel says of an empty program is what its measuring takes.")
	t.print()

	var took [3][]float64 // alone, with an empty program, with the agent
	for range rounds {
		for i := range took {
			var each float64
			play := func() (err error) { each, err = pingpong("nearest"); return err }
			var err error
			switch i {
			case 0:
				err = play()
			case 1:
				err = emptyProgram(fpuTracepoint, func(*ebpf.Program) error { return play() })
			case 2:
				err = b.beside(ctx, func(*agent) error { return play() })
			}
			if err != nil {
				return err
			}
			took[i] = append(took[i], each)
		}
	}
	t = newTable("Pipe ping-pong on one CPU: ns a switch, and slower than alone by %", "with", "ns", "slower", "lower quartile", "upper quartile")
	for i, name := range []string{"nothing", "an empty program", "the agent"} {
		var slower []float64
		for n := range rounds {
			slower = append(slower, 100*(took[i][n]/took[0][n]-1))
		}
		percent := func(q float64) string { return fmt.Sprintf("%+.2f", quantile(slower, q)) }
		t.add(name, ns(quantile(took[i], 0.5)), percent(0.5), percent(0.25), percent(0.75))
	}
	t.note("%d rounds of %d switches each; medians over the rounds.", rounds, 2*turns)
	t.print()
	return nil
}

// emptyProgram calls f with an empty program attached instead of the agent's.
func emptyProgram(tracepoint string, f func(*ebpf.Program) error) error {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.Tracing,
		AttachType:   ebpf.AttachTraceRawTp,
		AttachTo:     tracepoint,
		License:      "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		return fmt.Errorf("loading an empty program: %w", err)
	}
	defer p.Close()
	l, err := link.AttachTracing(link.TracingOptions{Program: p})
	if err != nil {
		return fmt.Errorf("attaching an empty program: %w", err)
	}
	defer l.Close()
	return f(p)
}

// killTime measures the time from a miner's first hash to the kill.
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
		others              int // processes that compete for the CPUs
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
	a, err := b.startMonero(ctx)
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
	life, err = lifeOf(exec.CommandContext(ctx, program, "1", "light", kind))
	return life, cmp.Or(err, ctx.Err())
}

// compile compiles a C program.
func compile(ctx context.Context, source, program string, flags ...string) error {
	args := append([]string{"-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", program, source}, flags...)
	if out, err := exec.CommandContext(ctx, "cc", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("compiling %s: %w\n%s", source, err, out)
	}
	return nil
}
