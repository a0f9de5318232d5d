package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// build builds a program of this module and returns its path.
func build(t *testing.T, name string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", file, "../"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", name, err, out)
	}
	return file
}

// selftest runs the program and returns its exit status and output.
func selftest(t *testing.T, program string, args ...string) (status int, output string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func TestInvalidArgumentsAreRefused(t *testing.T) {
	for _, args := range [][]string{{"-expect", "maybe"}, {"-timeout", "soon"}, {"-unknown"}} {
		if status := run(t.Context(), args, new(bytes.Buffer)); status != 2 {
			t.Errorf("%v: status %d", args, status)
		}
	}
}

// Tests of other packages run agents with the built-in rules, so packages must be
// tested one at a time, as `make test` does.
func TestTheSelfTestDetectsWhetherAnAgentRuns(t *testing.T) {
	testutil.Privileged(t)
	program := build(t, "cryptnono-selftest")
	began := time.Now()
	status, output := selftest(t, program, "-timeout", "1s")
	if status != 1 || !strings.Contains(output, "was not killed") || time.Since(began) < time.Second {
		t.Errorf("without an agent: status %d after %v: %s", status, time.Since(began), output)
	}
	if status, output := selftest(t, program, "-expect", "alive"); status != 0 {
		t.Errorf("without an agent, as expected: status %d: %s", status, output)
	}

	agent := exec.Command(build(t, "cryptnono"), "run", "--scan-interval", "0")
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = agent.Process.Signal(os.Interrupt)
		_ = agent.Wait()
	}()
	if status, output := selftest(t, program, "-timeout", "30s"); status != 0 || !strings.HasPrefix(output, "ok ") {
		t.Errorf("with an agent: status %d: %s", status, output)
	}
	if status, output := selftest(t, program, "-expect", "alive"); status != 1 || !strings.Contains(output, "was killed") {
		t.Errorf("with an agent, expecting alive: status %d: %s", status, output)
	}
}
