package detectortest

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// ExecutedMeanwhile tests that decide does not kill a process for the program that it executed
// before, but for the one that it executes now.
func ExecutedMeanwhile(t *testing.T, e detector.Env, decide func(process.Execution) error) {
	t.Helper()
	cmd, execute := testutil.Shell(t)
	first, err := e.Inventory.Execution(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	execute()
	testutil.Eventually(t, "the exec", func() bool { return e.Inventory.Executes(first) != nil })
	if err := decide(first); !errors.Is(err, process.ErrGone) || cmd.Process.Signal(unix.Signal(0)) != nil {
		t.Errorf("the program before is decided with %v", err)
	}
	second, err := e.Inventory.Execution(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := decide(second); err != nil || testutil.DiedOf(cmd) != unix.SIGKILL {
		t.Errorf("the one now is decided with %v", err)
	}
}
