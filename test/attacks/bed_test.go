package attacks

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// nobody is an unprivileged user, for attempts for which the user matters.
const nobody = 65534

// soak reports whether to use the full numbers, which take hours.
func soak() bool { return os.Getenv("SOAK") != "" }

// times returns the number of tries, in an ordinary test or in a soak test.
func times(ordinary, soaking int) int {
	if soak() {
		return soaking
	}
	return ordinary
}

// soon returns the time limit on a busy machine for events that must happen at once. Only failing
// rows take so long.
func soon() time.Duration { return testutil.Patience(40 * time.Second) }

// A bed has the resources that the rows share.
type bed struct {
	t     *testing.T
	dir   string // which all users may enter
	mu    sync.Mutex
	built map[string]string
}

func newBed(t *testing.T) *bed {
	t.Helper()
	dir, err := os.MkdirTemp("", "attacks") //nolint:usetesting // other users cannot enter t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	agenttest.RaiseStackLimit(t)
	return &bed{t: t, dir: dir, built: make(map[string]string)}
}

// victim builds a program in test/victims once, in a folder where all users may execute it.
func (b *bed) victim(t *testing.T, name string, flags ...string) string {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	key := strings.Join(append([]string{name}, flags...), " ")
	if b.built[key] == "" {
		source := "test/victims/" + name + ".c"
		b.built[key] = agenttest.CopyFile(t, testutil.BuildC(b.t, source, flags...), filepath.Join(b.dir, fmt.Sprint(len(b.built)), name))
	}
	return b.built[key]
}

// folder creates a temporary folder of the test that all users may enter.
func (b *bed) folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(b.dir, "") //nolint:usetesting // other users cannot enter t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// act returns a command that runs the victim act with these arguments. what selects what it does.
func (b *bed) act(t *testing.T, what string, args ...string) *exec.Cmd {
	t.Helper()
	return acting(exec.Command(b.victim(t, "act", "-static"), args...), what)
}

// acting selects what the victim act does if cmd executes it.
func acting(cmd *exec.Cmd, what string) *exec.Cmd {
	cmd.Env = append(cmd.Environ(), "ACT="+what)
	return cmd
}

// intoCgroup makes a program start in the cgroup of an open directory.
func intoCgroup(dir *os.File) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
}

func asNobody(cmd *exec.Cmd) *exec.Cmd {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	return cmd
}

// finish runs a command to its end, within soon, and returns the output of it and its
// descendants.
func finish(cmd *exec.Cmd) (output []byte, err error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Setpgid = true
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	// With SIGQUIT, to distinguish it from a kill by the agent.
	defer time.AfterFunc(soon(), func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGCONT)
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGQUIT)
	}).Stop()
	err = cmd.Wait()
	return out.Bytes(), err
}

// dies runs a command that must be killed before its first instruction.
func dies(cmd *exec.Cmd) (seen string, ok bool) {
	out, err := finish(cmd)
	switch {
	case !agenttest.Killed(cmd):
		return fmt.Sprintf("lived (%v), printed %.80q", err, out), false
	case len(out) > 0:
		return fmt.Sprintf("dead, but printed %.80q", out), false
	}
	return "dead before its first instruction", true
}

// lives runs a command that must exit with status 0.
func lives(cmd *exec.Cmd) (seen string, ok bool) {
	out, err := finish(cmd)
	switch {
	case agenttest.Killed(cmd):
		return "was killed", false
	case err != nil:
		return fmt.Sprintf("%v, printed %.80q", err, out), false
	}
	return "lives", true
}

// all runs commands one after the other with dies or lives, and counts the results.
func all(what string, do func(*exec.Cmd) (string, bool), cmds ...*exec.Cmd) (seen string, ok bool) {
	good, bad := 0, ""
	for _, cmd := range cmds {
		if seen, ok := do(cmd); ok {
			good++
		} else if bad == "" {
			bad = fmt.Sprintf("; %s %.60q: %s", filepath.Base(cmd.Path), strings.Join(cmd.Args[1:], " "), seen)
		}
	}
	return fmt.Sprintf("%d/%d %s%s", good, len(cmds), what, bad), good == len(cmds)
}

// A crowd is a number of programs that run at the same time.
type crowd struct {
	groups  []*agenttest.Group
	outputs []*testutil.Buffer
}

// output returns the output so far of the i-th program and its descendants.
func (c *crowd) output(i int) string {
	return c.outputs[i].String()
}

// start starts a further program.
func (c *crowd) start(t *testing.T, cmd *exec.Cmd) *agenttest.Group {
	t.Helper()
	out := new(testutil.Buffer)
	cmd.Stdout = out
	group := agenttest.StartGroup(t, cmd)
	c.groups, c.outputs = append(c.groups, group), append(c.outputs, out)
	return group
}

// die waits until all programs and their descendants are dead. If beforeFirst is set, none may
// have executed an instruction.
func (c *crowd) die(beforeFirst bool) (seen string, ok bool) {
	end := time.Now().Add(soon())
	dead, ran := 0, 0
	for i, group := range c.groups {
		if group.Dead(max(time.Until(end), time.Millisecond)) {
			dead++
		}
		group.Kill()
		if c.output(i) != "" {
			ran++
		}
	}
	n := len(c.groups)
	return fmt.Sprintf("%d/%d dead, %d ran before that", dead, n, ran), dead == n && (ran == 0 || !beforeFirst)
}
