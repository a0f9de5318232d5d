package acceptance

import (
	"io"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/test/agenttest"
)

// dies runs a program that must be killed before its first instruction.
func dies(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if !agenttest.Killed(cmd) {
		t.Fatalf("lived: %v, with output %q", err, out)
	} else if len(out) > 0 {
		t.Errorf("was killed, but printed %q", out)
	}
}

// lives runs a program that must exit with status 0 and the given output.
func lives(t *testing.T, cmd *exec.Cmd, output string) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != output {
		t.Errorf("%v, with output %q, want %q", err, out, output)
	}
}

// A sleeper is a process that runs until its standard input ends.
type sleeper struct {
	*exec.Cmd
	t     *testing.T
	stdin io.WriteCloser
	ended chan struct{} // closed when it has ended
}

// sleep starts a sleeper with additional arguments, which it ignores.
func sleep(t *testing.T, args ...string) *sleeper {
	t.Helper()
	return startSleeper(t, exec.Command("/bin/sh", append([]string{"-c", "read -r line", "sh"}, args...)...))
}

// startSleeper starts a program that runs until its standard input ends. It is killed at the end
// of the test.
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
	case <-time.After(agenttest.Patience()):
		s.t.Fatalf("still alive: %s", s)
	}
	if !agenttest.Killed(s.Cmd) {
		s.t.Errorf("%s ended with %v", s, s.ProcessState)
	}
}

// isAlive checks that the sleeper was not killed, and ends it.
func (s *sleeper) isAlive() {
	s.t.Helper()
	_ = s.stdin.Close()
	<-s.ended
	if agenttest.Killed(s.Cmd) {
		s.t.Errorf("was killed: %s", s)
	}
}

// copyFile copies a program to a temporary folder of the test and returns the path of the copy. The
// name may contain directories.
func copyFile(t *testing.T, from, name string) string {
	t.Helper()
	return agenttest.CopyFile(t, from, filepath.Join(t.TempDir(), name))
}

// writeProgram writes a program to a temporary folder of the test and returns its path.
func writeProgram(t *testing.T, name, text string) string {
	t.Helper()
	return agenttest.WriteProgram(t, filepath.Join(t.TempDir(), name), text)
}
