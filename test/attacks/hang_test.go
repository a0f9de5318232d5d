package attacks

import (
	"fmt"
	"net"
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

// hangRows are file systems that do not answer, and processes whose memory cannot be read: a read
// blocks indefinitely.
func hangRows(_ *testing.T, b *bed) []row {
	const expected = "all others are judged, the agent is healthy and ends on SIGTERM"
	scanned := func(begin func(t *testing.T, h *hanging) *agenttest.Group) func(*testing.T) (string, bool) {
		return func(t *testing.T) (string, bool) {
			h := mountHanging(t, b, b.victim(t, "act", "-static"))
			defer h.daemon.Kill()
			begin(t, h)
			word := agenttest.NewWord()
			var c crowd
			c.start(t, b.act(t, "stay", word))
			a := agenttest.Start(t, agenttest.Options{
				Rules: agenttest.Rules{Strings: []string{word}}, Settings: map[string]any{"scanInterval": "1s"}, MayFail: true,
			})
			first, ok := c.die(false)
			second := foundLater(t, b, a) // a scan may hang by now
			healthy := answers(a)
			ended := ends(a)
			return fmt.Sprintf("found at the start: %s; later: %v; answers: %v; ended by SIGTERM: %v", first, second, healthy, ended),
				ok && second && healthy && ended
		}
	}
	program := func(t *testing.T, h *hanging) *agenttest.Group {
		var c crowd
		p := c.start(t, acting(exec.Command(h.program), "stay"))
		agenttest.Eventually(t, "the program runs", func() bool { return c.output(0) != "" })
		return p
	}
	return []row{
		{"C01", "a program on FUSE whose daemon answers no getattr, found by a scan", expected, scanned(program)},
		{"C01b", "the same, and the daemon is stopped", expected, scanned(func(t *testing.T, h *hanging) *agenttest.Group {
			p := program(t, h)
			h.stop(t)
			return p
		})},
		{"C01c", "a working directory and a root on FUSE whose daemon is stopped", expected, scanned(func(t *testing.T, h *hanging) *agenttest.Group {
			var c crowd
			cmd := acting(exec.Command("/program"), "stay")
			cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: h.dir}
			cmd.Dir = "/"
			p := c.start(t, cmd)
			agenttest.Eventually(t, "the program runs", func() bool { return c.output(0) != "" })
			h.stop(t)
			return p
		})},
		{"C01d", "a miner's program on FUSE whose daemon is stopped, found by monero, and another beside it", "both are dead", func(t *testing.T) (string, bool) {
			return hangingMiner(t, b)
		}},
		{"C10", "a program on FUSE whose exec is left to user space", "the next exec has its line, the agent is healthy and ends on SIGTERM", func(t *testing.T) (string, bool) {
			return hangingEvent(t, b)
		}},
		{"C18", "the same file system in a user namespace of an ordinary user", expected, func(t *testing.T) (string, bool) {
			word := agenttest.NewWord()
			dir := b.folder(t)
			if err := os.Chown(dir, nobody, nobody); err != nil {
				t.Fatal(err)
			}
			var c crowd
			inner := fmt.Sprintf(`%s . %s & until [ -e program ]; do cd %s; done; ACT=stay exec ./program`, b.victim(t, "fuse_program"), b.victim(t, "act", "-static"), dir)
			cmd := asNobody(exec.Command(b.victim(t, "exec_in"), "um", "/bin/sh", "-c", inner))
			cmd.Dir, cmd.Env = dir, []string{"FUSE=" + fuseDevice(t, b), "PATH=/usr/bin:/bin"}
			c.start(t, cmd)
			agenttest.Eventually(t, "the program runs", func() bool { return strings.Contains(c.output(0), "ran") })
			a := scanning(t, agenttest.Rules{Strings: []string{word}})
			dead := foundLater(t, b, a)
			return fmt.Sprintf("a banned program beside it is dead: %v", dead), dead
		}},
		{"C02", "nine processes of an ordinary user that hold their mmap lock", "all others are judged", func(t *testing.T) (string, bool) {
			return locked(t, b, 9)
		}},
		{"C02b,F8", "many of them", "all others are judged", func(t *testing.T) (string, bool) {
			return locked(t, b, times(40, 900))
		}},
	}
}

// A hanging is a file system that answers until its program is executed.
type hanging struct {
	dir, program string
	daemon       *agenttest.Group
}

// mountHanging mounts such a file system with a copy of a program.
func mountHanging(t *testing.T, b *bed, program string) *hanging {
	t.Helper()
	h := &hanging{dir: b.folder(t)}
	h.program = filepath.Join(h.dir, "program")
	var c crowd
	h.daemon = c.start(t, exec.Command(b.victim(t, "fuse_program"), h.dir, program))
	t.Cleanup(func() {
		h.daemon.Kill()
		_ = unix.Unmount(h.dir, unix.MNT_DETACH)
	})
	agenttest.Eventually(t, "the file system is mounted", func() bool { return c.output(0) == "mounted\n" })
	return h
}

// stop makes the file system answer nothing at all.
func (h *hanging) stop(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(h.daemon.Process.Pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}

// fuseDevice creates a FUSE device that all users may open, as on many hosts.
func fuseDevice(t *testing.T, b *bed) string {
	t.Helper()
	device := filepath.Join(b.folder(t), "fuse")
	if err := unix.Mknod(device, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 229))); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(device, 0o666); err != nil {
		t.Fatal(err)
	}
	return device
}

// foundLater starts a program, then bans it, and reports whether a scan kills it.
func foundLater(t *testing.T, b *bed, a *agenttest.Agent) bool {
	t.Helper()
	word := agenttest.NewWord()
	var c crowd
	found := c.start(t, b.act(t, "stay", word))
	agenttest.Eventually(t, "the program runs", func() bool { return c.output(0) != "" })
	writeRules(t, a, agenttest.Rules{Strings: []string{word}})
	_ = a.Process.Signal(syscall.SIGHUP)
	dead := found.Dead(soon())
	found.Kill()
	return dead
}

// answers reports whether /healthz reports a healthy agent.
func answers(a *agenttest.Agent) bool {
	status, _, err := a.Get("/healthz", soon())
	return err == nil && status == 200
}

// ends sends SIGTERM to the agent and reports whether it ends.
func ends(a *agenttest.Agent) bool {
	_ = a.Process.Signal(syscall.SIGTERM)
	return agenttest.Within(soon(), a.Over)
}

// hangingMiner runs a miner whose program is on a file system that hangs, and another.
func hangingMiner(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	jit := b.victim(t, "directed_jit", "-static")
	h := mountHanging(t, b, jit)
	defer h.daemon.Kill()
	var c crowd
	c.start(t, exec.Command(h.program, "anonymous"))
	time.Sleep(200 * time.Millisecond) // until its pages are in memory
	h.stop(t)
	startMonero(t, nil)
	c.start(t, exec.Command(jit, "anonymous"))
	return c.die(false)
}

// startMonero starts an agent with only this detector.
func startMonero(t *testing.T, settings map[string]any) *agenttest.Agent {
	t.Helper()
	if settings == nil {
		settings = make(map[string]any)
	}
	return agenttest.Start(t, agenttest.Options{MayFail: true, Settings: map[string]any{
		"execwhacker": map[string]any{"enabled": false},
		"monero":      settings,
	}})
}

// hangingEvent executes a program whose file hangs and whose verdict may be left to user space.
func hangingEvent(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	h := mountHanging(t, b, b.victim(t, "act", "-static"))
	defer h.daemon.Kill()
	word, dense := agenttest.NewWord(), agenttest.NewWord()[:13]+"+tcp://"
	port := freePort(t)
	o := agenttest.Options{
		Rules:    agenttest.Rules{Strings: []string{word}, Substrings: []string{dense}},
		Settings: map[string]any{"listen": net.JoinHostPort("127.0.0.1", fmt.Sprint(port))},
		MayFail:  true,
	}
	a := agenttest.Start(t, o)
	var c crowd
	c.start(t, acting(exec.Command(h.program, strings.Repeat(dense[:8], 16384/8)), "stay"))
	time.Sleep(500 * time.Millisecond)
	next := exec.Command("/bin/echo", word)
	fate, dead := dies(next)
	logged := agenttest.Within(soon(), func() bool { return len(a.Verdicts("killed", next.Process.Pid)) == 1 })
	healthy := answers(a)
	_ = a.Process.Signal(syscall.SIGKILL)
	ended := agenttest.Within(soon(), a.Over)
	started := false
	if ended {
		agenttest.Start(t, o)
		started = true
	}
	return fmt.Sprintf("the next exec: %s, its line: %v; answers: %v; ended by SIGKILL: %v, the next agent starts: %v", fate, logged, healthy, ended, started),
		dead && logged && healthy && ended && started
}

// locked runs n processes that cannot be read, and checks whether a process that user space must
// read, because it is older than the agent, is judged.
func locked(t *testing.T, b *bed, n int) (seen string, ok bool) {
	t.Helper()
	device := fuseDevice(t, b)
	for range n {
		cmd := asNobody(exec.Command(b.victim(t, "exec_in"), "um", b.victim(t, "hang_cmdline")))
		cmd.Env = []string{"FUSE=" + device}
		agenttest.StartGroup(t, cmd)
	}
	time.Sleep(time.Second)
	word := agenttest.NewWord()
	var c crowd
	c.start(t, b.act(t, "stay", word))
	a := agenttest.Start(t, agenttest.Options{
		Rules: agenttest.Rules{Strings: []string{word}}, Settings: map[string]any{"scanInterval": "1s"}, MayFail: true,
	})
	fate, dead := c.die(false)
	lines := len(a.Lines(func(l agenttest.Line) bool { return l.Msg == "process not judged" }))
	return fmt.Sprintf("a banned program that is older than the agent: %s; %d lines on those that could not be read", fate, lines), dead && lines <= 10*n
}
