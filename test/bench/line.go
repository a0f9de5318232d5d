package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lineCost measures the agent's CPU time for each verdict: with a line of its own, where
// they come from many cgroups, and in a flood of one cgroup, of which the agent writes the
// first ten and then one line with the number.
func lineCost(ctx context.Context, b *bench) (err error) {
	const owners, each, flood = 300, 3, 5000 // of so many verdicts of one owner the whole line is written
	const word = "cryptnono-bench-banned-word"
	file := filepath.Join(b.dir, "line.json")
	content, err := json.Marshal(map[string]any{"bannedCommandStrings": []string{word}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		return err
	}
	a, err := b.start(ctx, "--builtin-rules=false", "--rules", file, "--scan-interval", "0", "--listen=")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.stop()) }()
	time.Sleep(2 * time.Second) // what the start is followed by
	rnd := rand.New(rand.NewPCG(9, 10))
	t := newTable("CPU time of the agent for a verdict, goal 20 µs", "verdicts", "bytes of arguments", "honest, µs", "banned, µs", "verdict, µs")
	for _, size := range []int{100, 4000} {
		honest := realistic(rnd, size)
		banned := append([]string{honest[0], word}, honest[1:]...)
		for _, how := range []struct {
			name         string
			execs, lines int
			run          func(argv []string) error
		}{
			{"each with its line", owners * each, owners * each, func(argv []string) error { return b.inCgroups(ctx, size*owners, owners, each-1, argv) }},
			{"a flood", flood, 10, func(argv []string) error {
				return inCgroup(-size, func(group *os.File) error { return b.execsIn(ctx, group, flood-1, argv) })
			}},
		} {
			var took [2]float64
			for i, argv := range [][]string{honest, banned} {
				before, err1 := a.cpu()
				err2 := how.run(argv)
				time.Sleep(time.Second) // what is still in the ring buffer
				after, err3 := a.cpu()
				if err := errors.Join(err1, err2, err3); err != nil {
					return err
				}
				took[i] = float64((after - before).Microseconds()) / float64(how.execs)
			}
			if _, err := a.verdicts(how.lines); err != nil {
				return err
			}
			t.add(how.name, size, fmt.Sprintf("%.1f", took[0]), fmt.Sprintf("%.1f", took[1]), fmt.Sprintf("%.1f", took[1]-took[0]))
		}
	}
	t.note("%d verdicts of as many cgroups as have three each, %d in a flood, by the time that the kernel has run the agent's threads for.", owners*each, flood)
	t.print()
	return nil
}

// inCgroups executes 1 + count times in each of n cgroups, one after the other, which are
// numbered from first on.
func (b *bench) inCgroups(ctx context.Context, first, n, count int, argv []string) error {
	for i := range n {
		if err := inCgroup(first+i, func(group *os.File) error { return b.execsIn(ctx, group, count, argv) }); err != nil {
			return err
		}
	}
	return nil
}

// inCgroup calls f with a new cgroup at the second level, which is removed afterwards.
func inCgroup(i int, f func(*os.File) error) error {
	mount, err := cgroupMount()
	if err != nil {
		return err
	}
	dir := fmt.Sprintf("%s/cryptnono-bench/%d-%d", mount, os.Getpid(), i)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	group, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = errors.Join(f(group), group.Close(), unix.Rmdir(dir))
	_ = unix.Rmdir(filepath.Dir(dir)) // if it is the last one
	return err
}

// cgroupMount returns where cgroup v2 is mounted.
func cgroupMount() (string, error) {
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[2] == "cgroup2" {
			return fields[1], nil
		}
	}
	return "", errors.New("cgroup v2 is not mounted")
}

// execsIn is execs in a cgroup.
func (b *bench) execsIn(ctx context.Context, group *os.File, count int, argv []string) error {
	cmd := exec.CommandContext(ctx, b.spawn)
	cmd.Args = append([]string{"spawn", strconv.Itoa(count)}, argv...)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd())}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("executing %d times in %s: %w", count, group.Name(), err)
	}
	return nil
}

// cpu returns the CPU time that the agent's threads have taken, but for those that have
// ended, which the Go runtime hardly ever lets.
func (a *agent) cpu() (time.Duration, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", a.cmd.Process.Pid))
	var sum time.Duration
	for _, file := range threads {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		on, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(on, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading %s: %w", file, err)
		}
		sum += time.Duration(ns)
	}
	return sum, err
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
		for child := range strings.FieldsSeq(string(children)) {
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
