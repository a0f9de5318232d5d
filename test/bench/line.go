package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// lineCost measures the agent's CPU time for each verdict of a flood, all of one cgroup,
// of which it writes the first ten and then one line with the number. What a line costs
// is measured by BenchmarkReport in internal/report.
func lineCost(ctx context.Context, b *bench) error {
	const execs = 20_000
	const word = "cryptnono-bench-banned-word"
	file := filepath.Join(b.dir, "line.json")
	content, err := json.Marshal(map[string]any{"bannedCommandStrings": []string{word}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		return err
	}
	a, err := b.start(ctx, "--builtin-rules=false", "--rules", file, "--scan-interval", "0")
	if err != nil {
		return err
	}
	time.Sleep(2 * time.Second) // what the start is followed by
	rnd := rand.New(rand.NewPCG(9, 10))
	t := newTable("CPU time of the agent for a verdict of a flood, goal 20 µs", "execs", "bytes of arguments", "µs")
	for _, size := range []int{100, 4000} {
		honest := realistic(rnd, size)
		for _, argv := range [][]string{honest, append([]string{honest[0], word}, honest[1:]...)} {
			before, err1 := a.cpu()
			_, err2 := b.execs(ctx, execs, argv)
			time.Sleep(time.Second) // what is still in the ring buffer
			after, err3 := a.cpu()
			if err := errors.Join(err1, err2, err3); err != nil {
				return errors.Join(err, a.stop())
			}
			name := "honest"
			if len(argv) > len(honest) {
				name = "banned"
			}
			t.add(name, size, fmt.Sprintf("%.1f", float64((after-before).Microseconds())/execs))
		}
	}
	t.note("%d execs, by user and system time of the process in whole ticks of 10 ms.", execs)
	t.print()
	return a.stop()
}

// cpu returns the CPU time that the agent has taken.
func (a *agent) cpu() (time.Duration, error) {
	own, _, err := cpuOf(a.cmd.Process.Pid)
	return own, err
}

// familyCPU returns the CPU time that the agent and its children have taken, the ones
// that have ended included.
func (a *agent) familyCPU() (time.Duration, error) {
	own, ended, err := cpuOf(a.cmd.Process.Pid)
	lists, err2 := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", a.cmd.Process.Pid))
	sum := own + ended
	for _, list := range lists {
		children, err := os.ReadFile(list)
		if err != nil {
			continue // that thread has ended
		}
		for _, child := range strings.Fields(string(children)) {
			pid, err := strconv.Atoi(child)
			if err != nil {
				return 0, err
			}
			own, ended, err := cpuOf(pid)
			if err != nil {
				continue // it has ended just now
			}
			sum += own + ended
		}
	}
	return sum, errors.Join(err, err2)
}

// cpuOf returns the CPU time that a process has taken, and that of its children that
// have ended.
func cpuOf(pid int) (own, ended time.Duration, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks [4]int64 // user and system, own and of children
	for i := range ticks {
		if ticks[i], err = strconv.ParseInt(fields[14-3+i], 10, 64); err != nil {
			return 0, 0, fmt.Errorf("parsing the CPU time of process %d: %w", pid, err)
		}
	}
	const tick = 10 * time.Millisecond
	return time.Duration(ticks[0]+ticks[1]) * tick, time.Duration(ticks[2]+ticks[3]) * tick, nil
}
