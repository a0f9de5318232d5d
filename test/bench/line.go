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

// lineCost measures the agent's CPU time for a verdict: with a line for each, for verdicts from many
// cgroups, and in a flood from one cgroup, for which the agent writes ten lines and a summary line.
// All of it is measured with evidence in the lines, and without.
func lineCost(ctx context.Context, b *bench) error {
	t := newTable("CPU time of the agent for a verdict, goal 20 µs without evidence", "verdicts", "bytes of arguments", "honest, µs", "banned, µs", "verdict, µs")
	for _, evidence := range []bool{false, true} {
		if err := b.lineRows(ctx, t, evidence); err != nil {
			return err
		}
	}
	t.note("%d verdicts of as many cgroups as have three each, %d in a flood, by the time that the kernel has run the agent's threads for.", lineOwners*lineEach, lineFlood)
	t.print()
	return nil
}

// Of lineEach verdicts of one owner whole lines are written.
const lineOwners, lineEach, lineFlood = 300, 3, 5000

// lineRows adds the rows of an agent that gathers evidence, or does not.
func (b *bench) lineRows(ctx context.Context, t *table, evidence bool) (err error) {
	const word = "cryptnono-bench-banned-word"
	file := filepath.Join(b.dir, "line.json")
	content, err := json.Marshal(map[string]any{"bannedCommandStrings": []string{word}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		return err
	}
	with, settings := " with evidence", filepath.Join(b.dir, "line-settings.json")
	off := "{}"
	if !evidence {
		with = ""
		off = `{"evidence": {"executable": false, "workingDirectory": false, "ancestors": false, "processes": false, "connections": false}}`
	}
	if err := os.WriteFile(settings, []byte(off), 0o600); err != nil {
		return err
	}
	a, err := b.start(ctx, "--config", settings, "--builtin-rules=false", "--rules", file, "--scan-interval", "0", "--listen=")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.stop()) }()
	time.Sleep(2 * time.Second) // until the work after the start is done
	rnd := rand.New(rand.NewPCG(9, 10))
	for _, size := range []int{100, 4000} {
		honest := realistic(rnd, size)
		banned := append([]string{honest[0], word}, honest[1:]...)
		for _, how := range []struct {
			name         string
			execs, lines int
			run          func(argv []string) error
		}{
			{"each with its line", lineOwners * lineEach, lineOwners * lineEach, func(argv []string) error { return b.inCgroups(ctx, size*lineOwners, lineOwners, lineEach-1, argv) }},
			{"a flood", lineFlood, 10, func(argv []string) error {
				return inCgroup(-size, func(group *os.File) error { return b.execsIn(ctx, group, lineFlood-1, argv) })
			}},
		} {
			var took [2]float64
			for i, argv := range [][]string{honest, banned} {
				before, err1 := a.cpu()
				err2 := how.run(argv)
				time.Sleep(time.Second) // until the ring buffer is empty
				after, err3 := a.cpu()
				if err := errors.Join(err1, err2, err3); err != nil {
					return err
				}
				took[i] = float64((after - before).Microseconds()) / float64(how.execs)
			}
			if _, err := a.verdicts(how.lines); err != nil {
				return err
			}
			t.add(how.name+with, size, fmt.Sprintf("%.1f", took[0]), fmt.Sprintf("%.1f", took[1]), fmt.Sprintf("%.1f", took[1]-took[0]))
		}
	}
	return nil
}

// inCgroups executes 1 + count times in each of n cgroups, one after the other, with numbers from
// first on.
func (b *bench) inCgroups(ctx context.Context, first, n, count int, argv []string) error {
	for i := range n {
		if err := inCgroup(first+i, func(group *os.File) error { return b.execsIn(ctx, group, count, argv) }); err != nil {
			return err
		}
	}
	return nil
}

// inCgroup calls f with a new cgroup at the second level, and removes it.
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
