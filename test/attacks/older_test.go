package attacks

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/test/agenttest"
)

// olderRows are programs that were started before the agent, which its scan must find.
func olderRows(t *testing.T, b *bed) []row {
	// older starts a program and then an agent. The result is whether the program and its
	// descendants are dead after some scans.
	older := func(start func(t *testing.T, word, program string) *exec.Cmd) func(*testing.T) (string, bool) {
		return func(t *testing.T) (string, bool) {
			word, program := agenttest.NewWord(), agenttest.NewWord()
			var c crowd
			c.start(t, start(t, word, program))
			scanning(t, agenttest.Rules{Strings: []string{word}, Programs: []string{program}})
			return c.die(false)
		}
	}
	act := func(t *testing.T) string { return b.victim(t, "act", "-static") }
	rows := []row{
		{"A50", "a banned program, its file deleted, with another argv[0]", "dead by the scan", older(func(t *testing.T, _, program string) *exec.Cmd {
			file := agenttest.CopyFile(t, act(t), filepath.Join(b.folder(t), program))
			cmd := acting(exec.Command("/bin/sh", "-c", `exec 9<"$0"; rm "$0"; exec /proc/self/fd/9`, file), "stay")
			return cmd
		})},
		{"A51", "a banned program by a symbolic link", "dead by the scan", older(func(t *testing.T, _, program string) *exec.Cmd {
			return acting(linked(t, b, act(t), program), "stay")
		})},
		{"A53", "a banned program by a descriptor", "dead by the scan", older(func(t *testing.T, _, program string) *exec.Cmd {
			return acting(throughDescriptor(t, agenttest.CopyFile(t, act(t), filepath.Join(b.folder(t), program))), "stay")
		})},
		{"A60", "stopped", "dead, and counted once", func(t *testing.T) (string, bool) {
			return foundOnce(t, b, func(c *agenttest.Group) func() {
				_ = syscall.Kill(c.Process.Pid, syscall.SIGSTOP)
				return func() {}
			})
		}},
		{"A59", "frozen by its cgroup", "dead when thawed, and counted once", func(t *testing.T) (string, bool) {
			return foundOnce(t, b, func(c *agenttest.Group) func() { return freeze(t, c.Process.Pid) })
		}},
	}
	for i, pause := range []int{300, 1000, 5000, 20_000} {
		rows = append(rows, row{"A55" + string(rune('a'+i)), fmt.Sprintf("forks and exits every %d µs", pause), "dead by the scan",
			older(func(t *testing.T, word, _ string) *exec.Cmd { return b.act(t, fmt.Sprintf("hop %d", pause), word) })})
	}
	return rows
}

// scanning starts an agent that scans each second, the minimum interval.
func scanning(t *testing.T, rules agenttest.Rules) *agenttest.Agent {
	t.Helper()
	return agenttest.Start(t, agenttest.Options{Rules: rules, Settings: map[string]any{"scanInterval": "1s"}})
}

// foundOnce runs a banned program that hold suspends, and lets scans find it meanwhile. hold returns
// a function that resumes it.
func foundOnce(t *testing.T, b *bed, hold func(*agenttest.Group) (release func())) (seen string, ok bool) {
	t.Helper()
	word := agenttest.NewWord()
	var c crowd
	victim := c.start(t, b.act(t, "stay", word))
	release := hold(victim)
	a := scanning(t, agenttest.Rules{Strings: []string{word}})
	a.Verdict(t, "killed", victim.Process.Pid)
	time.Sleep(2500 * time.Millisecond) // for two further scans
	release()
	fate, dead := c.die(false)
	lines, counted := len(a.Verdicts("killed", victim.Process.Pid)), a.Metrics(t)[`processes_killed_total{source="scan"}`]
	return fmt.Sprintf("%s; %d lines, counted %v times", fate, lines, counted), dead && lines == 1 && counted == 1
}

// freeze freezes a process in a new cgroup, and returns a function that thaws it. With the freezer
// of cgroup v1, which it uses if there is one, a killed process does not end until then.
func freeze(t *testing.T, pid int) (thaw func()) {
	t.Helper()
	dir, file, on, off := "/sys/fs/cgroup/freezer", "freezer.state", "FROZEN", "THAWED"
	if _, err := os.Stat(dir); err != nil {
		dir, file, on, off = agenttest.CgroupRoot(), "cgroup.freeze", "1", "0"
	}
	dir += "/attacks-frozen"
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		write(file, off)
		agenttest.Eventually(t, "the frozen process is gone", func() bool {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			return os.Remove(dir) == nil
		})
	})
	write("cgroup.procs", fmt.Sprint(pid))
	write(file, on)
	return func() { write(file, off) }
}
