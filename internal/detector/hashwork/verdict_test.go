package hashwork

import (
	"errors"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// A process that executes another program after the search is not killed for the one before.
func TestAProgramThatIsExecutedMeanwhileLives(t *testing.T) {
	testutil.Privileged(t)
	e := detectortest.Env(t, detectortest.Options{})
	v := newVerdicts(e, newMetrics(nil), nil)
	cmd := exec.Command("sh", "-c", "read x; exec sleep 600")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	testutil.Start(t, cmd)
	decide := func(x process.Execution) error {
		t.Helper()
		h, err := x.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		p := &policy{detector.Policy{Matcher: new(match.Matcher)}, Defaults()}
		return v.decide(t.Context(), h, job{key: x, state: new(state), policy: p}, finding{rule: scratchpadRule}, false)
	}
	first, err := e.Inventory.Execution(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stdin.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
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
