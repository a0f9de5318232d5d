package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
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
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", a.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var user, system int64
	if _, err := fmt.Sscan(fields[14-3]+" "+fields[15-3], &user, &system); err != nil {
		return 0, fmt.Errorf("parsing the agent's CPU time: %w", err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond, nil
}
