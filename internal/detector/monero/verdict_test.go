package monero

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// A process that executes another program after its samples is not killed for the one before.
func TestAProgramThatIsExecutedMeanwhileLives(t *testing.T) {
	testutil.Privileged(t)
	e := detectortest.Env(t, detectortest.Options{})
	v := newVerdicts(e, newMetrics(nil))
	cmd, execute := testutil.Shell(t)
	p := &policy{detector.Policy{Matcher: new(match.Matcher)}, Defaults()}
	decide := func(x process.Execution) error {
		return v.decide(t.Context(), job{key: x, state: new(verdictState), policy: p, decision: rounding.Decision{Rule: rounding.JIT}}, true)
	}
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
