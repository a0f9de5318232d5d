package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cilium/ebpf"
)

// togetherCost measures what a node pays for an agent with all detectors and the built-in rules: in the
// kernel for each event, and by the agent itself.
func togetherCost(ctx context.Context, b *bench) error {
	return errors.Join(kernelCost(ctx, b), agentCost(ctx, b))
}

// An event is something that makes the kernel run programs of the agent.
type event struct {
	name     string
	programs []string // the first one runs once for an event
	rate     int      // a second, on a busy node
	cause    func() error
}

func kernelCost(ctx context.Context, b *bench) error {
	forks, pingpong := filepath.Join(b.dir, "forks"), filepath.Join(b.dir, "pingpong")
	if err := errors.Join(compile(ctx, "test/bench/forks/forks.c", forks, "-static"), compile(ctx, "test/bench/pingpong/pingpong.c", pingpong)); err != nil {
		return err
	}
	play := func() error {
		_, err := nanoseconds(exec.CommandContext(ctx, pingpong, "100000", "nearest"))
		return err
	}
	events := []event{
		{"exec with 100 bytes of arguments", []string{"judge_exec", "check_exec"}, 100, func() error {
			_, err := b.execs(ctx, 4000, realistic(rand.New(rand.NewPCG(3, 4)), 100))
			return err
		}},
		{"process, from its fork to its end", []string{"inherit_record", "drop_record"}, 100, func() error {
			_, err := nanoseconds(exec.CommandContext(ctx, forks, "4000", "process"))
			return err
		}},
		{"switch from a thread with floating-point state", []string{"sample_mode"}, 5000, play},
		{"packet of a connection", []string{"judge_egress"}, 5000, func() error { return talk(ctx, 1, 20_000) }},
		{"connection, from connect to its end", []string{"judge_connect4", "watch_connects"}, 20, func() error { return talk(ctx, 2000, 0) }},
		{"tick of the clock on a CPU that computes", []string{"tick"}, 49 * runtime.NumCPU(), func() error { compute(5 * time.Second); return nil }},
	}
	var empty runs
	if err := emptyProgram("sched_switch", func(p *ebpf.Program) error {
		return measured(func() (err error) { empty, err = during(p, play); return err })
	}); err != nil {
		return err
	}
	t := newTable("Everything together, in the kernel: ns for each", "what", "ns", "at most this often a second", "then % of a CPU")
	err := b.beside(ctx, func(a *agent) error {
		return measured(func() error {
			for _, e := range events {
				var all []*ebpf.Program
				for _, name := range e.programs {
					p, err := a.program(name)
					if err != nil {
						return err
					}
					defer p.Close()
					all = append(all, p)
				}
				each, err := e.cost(all, empty.mean())
				if err != nil {
					return err
				}
				t.add(e.name, ns(each), e.rate, fmt.Sprintf("%.3f", each*float64(e.rate)/1e7))
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	t.note("Means by the kernel's own statistics, less the %.0f ns that an empty program takes by them.", empty.mean())
	t.print()
	return nil
}

// cost returns the ns that the programs take for an event, less those of as many empty ones.
func (e event) cost(programs []*ebpf.Program, empty float64) (float64, error) {
	all := make([]runs, len(programs))
	run := e.cause
	for i, p := range programs {
		inner := run
		run = func() (err error) { all[i], err = during(p, inner); return err }
	}
	if err := run(); err != nil {
		return 0, err
	}
	var sum float64
	for _, r := range all {
		sum += float64(r.took) - empty*float64(r.count)
	}
	if all[0].count == 0 {
		return 0, fmt.Errorf("%s: its program did not run", e.name)
	}
	return max(0, sum) / float64(all[0].count), nil
}

// talk makes connections over loopback one after the other, with this many messages in each.
func talk(ctx context.Context, connections, messages int) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	message := []byte(strings.Repeat("x", 100))
	for range connections {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
		if err != nil {
			return err
		}
		s, err := l.Accept()
		for n := 0; n < messages && err == nil; n++ {
			if _, err = c.Write(message); err == nil {
				_, err = io.ReadFull(s, message)
			}
		}
		if err := errors.Join(err, c.Close(), s.Close()); err != nil {
			return err
		}
	}
	return nil
}

// compute keeps all CPUs busy.
func compute(d time.Duration) {
	var all sync.WaitGroup
	for range runtime.NumCPU() {
		all.Go(func() {
			for end := time.Now().Add(d); time.Now().Before(end); {
			}
		})
	}
	all.Wait()
}

// agentCost measures an agent in a memory cgroup, which is charged for its maps as well since Linux 5.11.
func agentCost(ctx context.Context, b *bench) (err error) {
	const seconds, execs = 15, 100
	t := newTable("Everything together, the agent: % of a CPU, MB",
		"rules", "CPU, idle", fmt.Sprintf("CPU, %d execs a second", execs), "RSS", "maps", "charged to the pod", "most at a reload", "and at a second one right after it")
	for _, r := range []ruleSet{ruleSets[0], ruleSets[3], {name: "200,000 strings", strings: 200_000}} {
		row, err := b.agentRow(ctx, r, seconds, execs)
		if err != nil {
			return err
		}
		t.add(row...)
	}
	t.note("CPU over %d s each, after the first scan. Charged is what the memory cgroup has: the process, its maps and other memory of the kernel.", seconds)
	t.print()
	return nil
}

func (b *bench) agentRow(ctx context.Context, r ruleSet, seconds, execs int) (row []any, err error) {
	flags, err := r.flags(b)
	if err != nil {
		return nil, err
	}
	group, err := newMemoryGroup()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.Remove(group.dir)) }()
	enter := filepath.Join(b.dir, "enter")
	script := fmt.Sprintf("#!/bin/sh\necho $$ >%s/cgroup.procs && exec %s \"$@\"\n", group.dir, b.agent)
	if err := os.WriteFile(enter, []byte(script), 0o700); err != nil {
		return nil, err
	}
	a, err := startAgent(ctx, enter, flags...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.stop()) }()
	time.Sleep(8 * time.Second) // the first scan
	idle, err1 := a.share(seconds, func() error { return nil })
	busy, err2 := a.share(seconds, func() error {
		_, err := b.execs(ctx, execs, realistic(rand.New(rand.NewPCG(5, 6)), 100))
		return err
	})
	status, err3 := a.memory()
	maps := fdinfo(a.cmd.Process.Pid, "map_id")
	charged, err4 := group.read(group.use)
	_, err5 := a.reloads()
	peak, err6 := group.read(group.peak)
	_, err7 := a.reloads()
	second, err8 := group.read(group.peak)
	var kernel uint64
	for _, size := range maps {
		kernel += size
	}
	percent := func(f float64) string { return fmt.Sprintf("%.2f", 100*f) }
	return []any{r.name, percent(idle), percent(busy), megabytes(status.VmRSS), megabytes(kernel), megabytes(charged), megabytes(peak), megabytes(second)},
		errors.Join(err1, err2, err3, err4, err5, err6, err7, err8)
}

// share returns the share of a CPU that the agent takes while f is called once a second.
func (a *agent) share(seconds int, f func() error) (float64, error) {
	began := time.Now()
	before, err := a.familyCPU()
	for i := 0; i < seconds && err == nil; i++ {
		err = f()
		time.Sleep(time.Until(began.Add(time.Duration(i+1) * time.Second)))
	}
	after, err2 := a.familyCPU()
	return float64(after-before) / float64(time.Since(began)), errors.Join(err, err2)
}

// A memoryGroup is a memory cgroup, of either version. use and peak are its files with bytes.
type memoryGroup struct{ dir, use, peak string }

func newMemoryGroup() (memoryGroup, error) {
	name := fmt.Sprintf("cryptnono-bench-%d", os.Getpid())
	if _, err := os.Stat("/sys/fs/cgroup/memory/memory.usage_in_bytes"); err == nil {
		g := memoryGroup{"/sys/fs/cgroup/memory/" + name, "memory.usage_in_bytes", "memory.max_usage_in_bytes"}
		return g, os.Mkdir(g.dir, 0o755)
	}
	g := memoryGroup{"/sys/fs/cgroup/" + name, "memory.current", "memory.peak"}
	return g, errors.Join(os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+memory"), 0), os.Mkdir(g.dir, 0o755))
}

func (g memoryGroup) read(file string) (uint64, error) {
	text, err := os.ReadFile(filepath.Join(g.dir, file))
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
}
