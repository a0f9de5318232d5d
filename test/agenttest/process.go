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

// NewWord returns a random word to ban, which no other process has in its arguments.
func NewWord() string { return "agenttest" + strings.ToLower(rand.Text()) }

// Killed reports whether a program was killed by SIGKILL, or exited with the status 137, as a
// shell does if its child was.
func Killed(cmd *exec.Cmd) bool {
	if cmd.ProcessState == nil {
		return false
	}
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return status.Signaled() && status.Signal() == syscall.SIGKILL || status.ExitStatus() == 128+int(syscall.SIGKILL)
}

// A Group is a program and all its descendants.
type Group struct {
	*exec.Cmd
	dead  chan struct{} // closed when all processes have ended
	ended chan struct{} // closed when the program itself has ended
}

// StartGroup starts a program in a process group. At the end of the test it kills the processes
// in that group.
func StartGroup(t *testing.T, cmd *exec.Cmd) *Group {
	t.Helper()
	c := &Group{cmd, make(chan struct{}), make(chan struct{})}
	// All descendants inherit the other end, so the pipe ends with the last of them.
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

// Kill kills the process group, and waits until all descendants have ended.
func (c *Group) Kill() {
	for !c.Dead(time.Millisecond) { // repeated, since a process may fork meanwhile
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
	}
}

// Dead reports whether all processes end within a time.
func (c *Group) Dead(d time.Duration) bool {
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

// CopyFile copies a program and returns the path of the copy.
func CopyFile(t *testing.T, from, to string) string {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	return WriteProgram(t, to, string(text))
}

// WriteProgram writes a file that all users may execute, creates its parent directories, and
// returns its path.
func WriteProgram(t *testing.T, file, text string) string {
	t.Helper()
	// If a parallel test forks now, the child has the file open for writing until its exec, and
	// the file cannot be executed (ETXTBSY).
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o755))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// RaiseStackLimit allows programs that the test starts up to 6 MiB of arguments: the kernel's
// limit is a quarter of the stack limit.
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
