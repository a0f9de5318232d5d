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

// nobody is the user without rights who attacks where that matters.
const nobody = 65534

// soak says whether the full numbers are wanted, which take hours.
func soak() bool { return os.Getenv("SOAK") != "" }

// times returns how often to try what is tried so often in a soak test.
func times(ordinary, soaking int) int {
	if soak() {
		return soaking
	}
	return ordinary
}

// soon returns how long what must happen at once may take on a busy machine. Only what
// does not hold takes as long.
func soon() time.Duration { return testutil.Patience(40 * time.Second) }

// A bed is what the rows share.
type bed struct {
	t     *testing.T
	dir   string // which any user may enter
	mu    sync.Mutex
	built map[string]string
}

func newBed(t *testing.T) *bed {
	t.Helper()
	dir, err := os.MkdirTemp("", "attacks") //nolint:usetesting // those of tests are closed to other users
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

// victim builds a program below test/victims, once, where any user may execute it.
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

// folder makes a directory that any user may enter and that lasts as long as the test.
func (b *bed) folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(b.dir, "") //nolint:usetesting // those of tests are closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// act returns a command that does as the victim of that name, with these arguments.
func (b *bed) act(t *testing.T, what string, args ...string) *exec.Cmd {
	t.Helper()
	return acting(exec.Command(b.victim(t, "act", "-static"), args...), what)
}

// acting has a command do so, if it comes to executing that victim.
func acting(cmd *exec.Cmd, what string) *exec.Cmd {
	cmd.Env = append(cmd.Environ(), "ACT="+what)
	return cmd
}

// intoCgroup has a program start in the cgroup of an open directory.
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

// finish runs a command to its end, for which it has some seconds, and returns what
// it and all that it has started print.
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
	// Not by SIGKILL, which is how the agent does it.
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

// lives runs a command that must come to its end.
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

// all runs commands one after the other by dies or lives, and counts.
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

// A crowd is a number of programs that run at once.
type crowd struct {
	colonies []*agenttest.Group
	outputs  []*testutil.Buffer
}

// output returns what the i-th program and those that it started have printed so far.
func (c *crowd) output(i int) string {
	return c.outputs[i].String()
}

// start starts one more.
func (c *crowd) start(t *testing.T, cmd *exec.Cmd) *agenttest.Group {
	t.Helper()
	out := new(testutil.Buffer)
	cmd.Stdout = out
	colony := agenttest.StartGroup(t, cmd)
	c.colonies, c.outputs = append(c.colonies, colony), append(c.outputs, out)
	return colony
}

// die waits until all of the crowd are dead, with all that they have started. Where
// firstly is set, none may have executed an instruction.
func (c *crowd) die(firstly bool) (seen string, ok bool) {
	end := time.Now().Add(soon())
	dead, ran := 0, 0
	for i, colony := range c.colonies {
		if colony.Dead(max(time.Until(end), time.Millisecond)) {
			dead++
		}
		colony.Kill()
		if c.output(i) != "" {
			ran++
		}
	}
	n := len(c.colonies)
	return fmt.Sprintf("%d/%d dead, %d ran before that", dead, n, ran), dead == n && (ran == 0 || !firstly)
}
