package acceptance

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
)

// newWord returns a word to be banned that stands nowhere else.
func newWord() string {
	return "acceptance" + strings.ToLower(rand.Text())
}

// dies runs a program that must be killed before its first instruction.
func dies(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if !killed(cmd) {
		t.Fatalf("lived: %v, with output %q", err, out)
	} else if len(out) > 0 {
		t.Errorf("was killed, but printed %q", out)
	}
}

// lives runs a program that must come to its end with the given output.
func lives(t *testing.T, cmd *exec.Cmd, output string) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != output {
		t.Errorf("%v, with output %q, want %q", err, out, output)
	}
}

// killed says whether a program that has ended died of SIGKILL, or ended with
// the status by which it tells that of its child.
func killed(cmd *exec.Cmd) bool {
	if cmd.ProcessState == nil {
		return false
	}
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return status.Signaled() && status.Signal() == syscall.SIGKILL || status.ExitStatus() == 128+int(syscall.SIGKILL)
}

// A sleeper is a process that runs until it is told to end.
type sleeper struct {
	*exec.Cmd
	t     *testing.T
	stdin io.WriteCloser
	ended chan struct{} // closed when it has ended
}

// sleep starts a sleeper with more arguments, which it ignores.
func sleep(t *testing.T, args ...string) *sleeper {
	t.Helper()
	return startSleeper(t, exec.Command("/bin/sh", append([]string{"-c", "read -r line", "sh"}, args...)...))
}

// startSleeper starts a program that runs until its standard input ends, or
// until the test does.
func startSleeper(t *testing.T, cmd *exec.Cmd) *sleeper {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &sleeper{cmd, t, stdin, make(chan struct{})}
	go func() {
		defer close(s.ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-s.ended
	})
	return s
}

// isKilled waits until the sleeper has been killed.
func (s *sleeper) isKilled() {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Fatalf("still alive: %s", s)
	}
	if !killed(s.Cmd) {
		s.t.Errorf("%s ended with %v", s, s.ProcessState)
	}
}

// isAlive checks that the sleeper was not killed, and ends it.
func (s *sleeper) isAlive() {
	s.t.Helper()
	_ = s.stdin.Close()
	<-s.ended
	if killed(s.Cmd) {
		s.t.Errorf("was killed: %s", s)
	}
}

// copyFile copies a program, and returns the path of the copy.
func copyFile(t *testing.T, from, name string) string {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	return writeProgram(t, name, string(text))
}

// writeProgram writes an executable file, in a directory that may be part of
// its name, and returns its path.
func writeProgram(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	// A test beside this one may fork just then, and the child holds the open file
	// until its exec; a file that is open for writing cannot be executed.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o700))
	if err != nil {
		t.Fatal(err)
	}
	return file
}
