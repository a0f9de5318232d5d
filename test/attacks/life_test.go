package attacks

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/test/agenttest"
)

// lifeRows are about the agent itself: its log, its end, its privileges.
func lifeRows(_ *testing.T, b *bed) []row {
	return []row{
		{"D01", "a log that is not read; five programs for the scan", "all are dead, and lost lines are logged", func(t *testing.T) (string, bool) {
			return unread(t, b)
		}},
		{"D08", "a log that is not read; three miners for monero, one after the other", "all are dead", func(t *testing.T) (string, bool) {
			return unreadMonero(t, b)
		}},
		{"D02", "a log on a disk that is full", "kills continue", func(t *testing.T) (string, bool) { return fullDisk(t, b) }},
		{"D03", "the agent is stopped", "100 of 100 banned programs die in the kernel", func(t *testing.T) (string, bool) {
			return stopped(t, b)
		}},
		{"D04", "SIGKILL, and the next agent", "it is ready soon, and its scan finds what started in between", func(t *testing.T) (string, bool) {
			return killedAgent(t, b)
		}},
		{"D05", "two agents", "a banned program dies, and each has one line", func(t *testing.T) (string, bool) {
			word := agenttest.NewWord()
			one := agenttest.Start(t, agenttest.Options{Rules: agenttest.Rules{Strings: []string{word}}})
			two := agenttest.Start(t, agenttest.Options{Rules: agenttest.Rules{Strings: []string{word}}})
			cmd := exec.Command("/bin/echo", word)
			fate, dead := dies(cmd)
			lines := func(a *agenttest.Agent) int {
				return len(a.Lines(func(l agenttest.Line) bool { return l.PID == cmd.Process.Pid && l.Action != "" }))
			}
			logged := agenttest.Within(soon(), func() bool { return lines(one) == 1 && lines(two) == 1 })
			return fmt.Sprintf("%s, %d and %d lines", fate, lines(one), lines(two)), dead && logged
		}},
		{"D05b", "`check -` of another copy of the agent, as during an upgrade", "answers", func(t *testing.T) (string, bool) {
			word := agenttest.NewWord()
			a := agenttest.Start(t, agenttest.Options{Rules: agenttest.Rules{Strings: []string{word}}})
			copied := agenttest.CopyFile(t, agenttest.Program(t), filepath.Join(b.folder(t), "cryptnono"))
			cmd := exec.Command(copied, "check", "--builtin-rules=false", "--rules", a.Rules, "-")
			answer, err := finish(reading(cmd, "/bin/echo\n"+word+"\n"))
			return fmt.Sprintf("%v: %.60s", err, answer), cmd.ProcessState.ExitCode() == 3
		}},
		{"D06", "only five capabilities, and hidepid=2", "all kills", func(t *testing.T) (string, bool) {
			return fewRights(t, b)
		}},
		{"D09", "SIGKILL in a storm, and started again", "protection is back at once", func(t *testing.T) (string, bool) {
			return killedInStorm(t, b)
		}},
		{"D10", "no /sys/fs/cgroup", "works", func(t *testing.T) (string, bool) {
			word := agenttest.NewWord()
			agenttest.Start(t, agenttest.Options{
				Rules: agenttest.Rules{Strings: []string{word}},
				Wrap:  []string{"unshare", "-m", "/bin/sh", "-c", `umount -l /sys/fs/cgroup && exec "$0" "$@"`},
			})
			return dies(exec.Command("/bin/echo", word))
		}},
		{"F9", "`run` in a PID namespace that is not the initial one", "refused at start, or logged in one sentence", func(t *testing.T) (string, bool) {
			a := agenttest.Launch(t, agenttest.Options{
				Rules: agenttest.Rules{Strings: []string{agenttest.NewWord()}},
				Wrap:  []string{"unshare", "-p", "-f", "--kill-child", "--mount-proc"},
			})
			logged := len(a.Lines(func(l agenttest.Line) bool {
				return (l.Level == "WARN" || l.Level == "ERROR") && strings.Contains(l.Raw, "PID namespace")
			})) > 0
			refused := strings.Contains(a.Errors(), "PID namespace")
			return fmt.Sprintf("refused: %v %.200s, logged: %v, ready: %v", refused, strings.TrimSpace(a.Errors()), logged, a.Ready()), refused || logged
		}},
	}
}

// unreadAgent starts an agent whose log is not read, and makes it log more than a pipe holds: with
// banned programs in so many cgroups that the limit of lines for one does not apply. The names of
// the returned pod are cached by then, so that its lines wait only for the log.
func unreadAgent(t *testing.T, word string, settings map[string]any) (a *agenttest.Agent, pod string) {
	t.Helper()
	id := strings.Repeat("c", 64)
	settings["containers"] = map[string]any{"sockets": []string{startRuntime(t, map[string]podNames{id: {namespace: "default"}}, nil)}}
	a = agenttest.Start(t, agenttest.Options{
		Rules: agenttest.Rules{Strings: []string{word}}, Settings: settings, Unread: true, MayFail: true,
	})
	die := func(cgroup string, args ...string) {
		t.Helper()
		if seen, ok := dies(agenttest.InCgroup(t, cgroup, exec.Command("/bin/true", args...))); !ok {
			t.Fatalf("a banned program %s", seen)
		}
	}
	die(agenttest.PodCgroup(id), word)
	time.Sleep(500 * time.Millisecond) // until the names are looked up
	for i := range flooding {
		die(fmt.Sprintf("/attacks-flood/c%d", i), word, strings.Repeat("x", 4000))
	}
	return a, agenttest.PodCgroup(id)
}

// flooding is a number of lines of 4 KB that exceeds the 64 KiB of a pipe.
const flooding = 40

func unread(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	word, later := agenttest.NewWord(), agenttest.NewWord()
	a, pod := unreadAgent(t, word, map[string]any{"scanInterval": "1s"})
	var c crowd
	const victims = 5
	for range victims {
		c.start(t, agenttest.InCgroup(t, pod, b.act(t, "stay", later)))
	}
	agenttest.Eventually(t, "the programs run", func() bool { return c.output(victims-1) != "" })
	writeRules(t, a, agenttest.Rules{Strings: []string{word, later}})
	if err := a.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	fate, dead := c.die(false)
	healthy := answers(a)
	a.ReadOn()
	logged := agenttest.Within(soon(), func() bool {
		return len(a.Lines(func(l agenttest.Line) bool { return strings.Contains(l.Msg, "lost") })) > 0 ||
			len(a.Lines(func(l agenttest.Line) bool { return l.Action == "killed" && l.Suppressed == 0 })) == 1+flooding+victims
	})
	return fmt.Sprintf("%s; answers: %v; all lines, or how many are lost: %v", fate, healthy, logged), dead && healthy && logged
}

func unreadMonero(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	a, pod := unreadAgent(t, agenttest.NewWord(), map[string]any{"monero": map[string]any{}})
	const miners = 3
	dead := 0
	for range miners { // one after the other, so that the log is blocked for each
		var c crowd
		c.start(t, agenttest.InCgroup(t, pod, exec.Command(b.victim(t, "directed_jit", "-static"), "anonymous")))
		if _, ok := c.die(false); ok {
			dead++
		}
	}
	a.ReadOn()
	return fmt.Sprintf("%d/%d dead", dead, miners), dead == miners
}

func fullDisk(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	disk := b.folder(t)
	if err := unix.Mount("attacks", disk, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	log, err := os.Create(filepath.Join(disk, "log"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(log, io.LimitReader(zeros{}, 1<<20))
	if err == nil {
		t.Fatal("the disk is not full")
	}
	word := agenttest.NewWord()
	var c crowd
	c.start(t, b.act(t, "stay", word))
	a := agenttest.Start(t, agenttest.Options{
		Rules: agenttest.Rules{Strings: []string{word}}, Settings: map[string]any{"scanInterval": "1s"}, LogTo: log, MayFail: true,
	})
	older, dead := c.die(false)
	later := foundLater(t, b, a)
	return fmt.Sprintf("older: %s; found later: %v; answers: %v", older, later, answers(a)), dead && later && answers(a)
}

// zeros is an endless reader.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func stopped(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	word := agenttest.NewWord()
	a := agenttest.Start(t, agenttest.Options{Rules: agenttest.Rules{Strings: []string{word}}})
	if err := a.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Process.Signal(syscall.SIGCONT) }()
	var cmds []*exec.Cmd
	for range 100 {
		cmds = append(cmds, exec.Command(b.victim(t, "hello", "-static"), word))
	}
	return all("dead before their first instruction", dies, cmds...)
}

func killedAgent(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	word := agenttest.NewWord()
	o := agenttest.Options{Rules: agenttest.Rules{Strings: []string{word}}, Settings: map[string]any{"scanInterval": "1h"}, MayFail: true}
	a := agenttest.Start(t, o)
	if err := a.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	a.End()
	var c crowd
	c.start(t, b.act(t, "stay", word))
	began := time.Now()
	agenttest.Start(t, o)
	took := time.Since(began)
	fate, dead := c.die(false)
	return fmt.Sprintf("ready after %.1f s; %s", took.Seconds(), fate), dead
}

// fewRights starts an agent with the capabilities of the service and the chart.
func fewRights(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	word := agenttest.NewWord()
	const capabilities = "-all,+bpf,+perfmon,+kill,+sys_ptrace,+dac_read_search"
	var c crowd
	c.start(t, b.act(t, "stay", word))
	agenttest.Start(t, agenttest.Options{
		Rules:    agenttest.Rules{Strings: []string{word}},
		Settings: map[string]any{"scanInterval": "1s"},
		Wrap: []string{"unshare", "-m", "/bin/sh", "-c",
			`mount -t proc -o hidepid=2 proc /proc && exec setpriv --bounding-set ` + capabilities + ` --inh-caps ` + capabilities + ` "$0" "$@"`},
	})
	older, dead := c.die(false)
	fate, ok := dies(asNobody(exec.Command("/bin/echo", word)))
	return fmt.Sprintf("older: %s; at its exec: %s", older, fate), dead && ok
}

// killedInStorm kills an agent while banned programs start, and starts the next.
func killedInStorm(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	word := agenttest.NewWord()
	o := agenttest.Options{Rules: agenttest.Rules{Strings: []string{word}}, MayFail: true}
	a := agenttest.Start(t, o)
	n := times(4000, 50_000)
	storm := exec.Command(b.victim(t, "storm", "-static"), "2", fmt.Sprint(n), "1")
	storm.Stdin = strings.NewReader(word)
	ended := make(chan string)
	go func() {
		out, _ := storm.CombinedOutput()
		ended <- string(out)
	}()
	time.Sleep(200 * time.Millisecond)
	_ = a.Process.Kill()
	a.End()
	began := time.Now()
	agenttest.Start(t, o)
	ready := time.Since(began)
	fate, dead := dies(exec.Command("/bin/echo", word))
	return fmt.Sprintf("ready after %.2f s, then %s; of the storm: %s (dead, live)", ready.Seconds(), fate, strings.TrimSpace(<-ended)), dead
}
