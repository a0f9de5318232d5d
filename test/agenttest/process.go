package agenttest

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// NewWord returns a word to be banned that stands nowhere else.
func NewWord() string { return "agenttest" + strings.ToLower(rand.Text()) }

// Killed says whether a program that has ended died of SIGKILL, or ended with
// the status by which it tells that of its child.
func Killed(cmd *exec.Cmd) bool {
	if cmd.ProcessState == nil {
		return false
	}
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return status.Signaled() && status.Signal() == syscall.SIGKILL || status.ExitStatus() == 128+int(syscall.SIGKILL)
}

// A Colony is a program and all that it starts.
type Colony struct {
	*exec.Cmd
	dead  chan struct{} // closed when the last of its processes has ended
	ended chan struct{} // closed when the first has ended
}

// Found starts a program. When the test ends, it is killed with all that it has
// started and that is in its process group still.
func Found(t *testing.T, cmd *exec.Cmd) *Colony {
	t.Helper()
	c := &Colony{cmd, make(chan struct{}), make(chan struct{})}
	// All its processes hold the other end, and none writes.
	held, other, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.ExtraFiles = append(c.ExtraFiles, other)
	if c.SysProcAttr == nil {
		c.SysProcAttr = new(syscall.SysProcAttr)
	}
	c.SysProcAttr.Setpgid = true
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	other.Close()
	go func() {
		defer close(c.dead)
		_, _ = io.Copy(io.Discard, held)
		held.Close()
	}()
	go func() {
		defer close(c.ended)
		_ = c.Wait()
	}()
	t.Cleanup(c.Kill)
	return c
}

// Kill kills it, and waits until all are dead.
func (c *Colony) Kill() {
	for !c.Dead(time.Millisecond) { // one may have forked just then
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
	}
}

// Dead says whether all its processes end within a time.
func (c *Colony) Dead(d time.Duration) bool {
	late := time.After(d)
	for _, end := range []chan struct{}{c.dead, c.ended} {
		select {
		case <-end:
		case <-late:
			return false
		}
	}
	return true
}

// CopyFile copies a program, and returns the path of the copy.
func CopyFile(t *testing.T, from, to string) string {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	return WriteProgram(t, to, string(text))
}

// WriteProgram writes an executable file, with the directories above it, and
// returns its path. Any user may execute it, if he may enter the directory.
func WriteProgram(t *testing.T, file, text string) string {
	t.Helper()
	// A test beside this one may fork just then, and the child holds the open file
	// until its exec; a file that is open for writing cannot be executed.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o755))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// RaiseStackLimit lets the programs that the test starts have up to 6 MiB of
// arguments: the kernel takes what fits a quarter of the stack.
func RaiseStackLimit(t *testing.T) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_STACK, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_STACK, &unix.Rlimit{Cur: 64 << 20, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Setrlimit(unix.RLIMIT_STACK, &old); err != nil {
			t.Errorf("lowering the stack limit: %v", err)
		}
	})
}
