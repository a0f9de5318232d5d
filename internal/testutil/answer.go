package testutil

import (
	"io"
	"os/exec"
	"testing"
)

// Answering starts a command, writes input to it, and waits for the first byte of output,
// because Start can return before the end of the exec. end closes the input, and waits for
// the end of the command.
func Answering(t testing.TB, cmd *exec.Cmd, input string) (end func()) {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = func() {
		stdin.Close()
		_ = cmd.Wait()
	}
	_, err = io.WriteString(stdin, input)
	if err == nil {
		_, err = stdout.Read(make([]byte, 1))
	}
	if err != nil {
		end()
		t.Fatalf("waiting for output of %.200q: %v", cmd, err)
	}
	return end
}
