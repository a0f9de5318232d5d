package testutil

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// Start starts a program, and kills it at the end of the test.
func Start(t testing.TB, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { End(cmd) })
	return cmd
}

// Shell starts a shell that executes another program, which sleeps, when next is called.
func Shell(t testing.TB) (cmd *exec.Cmd, next func()) {
	t.Helper()
	cmd = exec.Command("sh", "-c", "echo; read x; exec sleep 600")
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	Start(t, cmd)
	// The exec goes on after Start has returned.
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return cmd, func() {
		if _, err := in.Write([]byte("\n")); err != nil {
			t.Error(err)
		}
	}
}

// Sleeper starts a process that sleeps, and kills it at the end of the test.
func Sleeper(t testing.TB) *exec.Cmd {
	t.Helper()
	cmd := Start(t, exec.Command("sleep", "600"))
	// The exec goes on after Start has returned.
	Eventually(t, "a mapping of its file", func() bool {
		maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", cmd.Process.Pid))
		return err == nil && bytes.Contains(maps, []byte(" /"))
	})
	return cmd
}

// End kills a child and waits for its end.
func End(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// Eventually waits until done returns true, for at most a minute on an ordinary machine.
func Eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience(time.Minute)); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timeout waiting for %s", what)
		}
	}
}

// DiedOf waits for the end of a child process, and returns the signal that ended it.
func DiedOf(cmd *exec.Cmd) syscall.Signal {
	_ = cmd.Wait()
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return status.Signal()
}
