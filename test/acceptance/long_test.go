package acceptance

import (
	"bytes"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// Long arguments may be judged in a callback instead of the hook. Banned programs must not print
// anything before they are killed, also during a reload.
func TestLongArgumentsAreJudgedBeforeTheFirstInstruction(t *testing.T) {
	testutil.Privileged(t)
	word := agenttest.NewWord()
	a := start(t, agenttest.Rules{Strings: []string{word}})
	execs := testutil.Rounds(t, 400)
	const atOnce = 16
	argument := strings.Repeat("x ", 50_000)
	var printed, killed atomic.Int32
	var wait sync.WaitGroup
	for worker := range atOnce {
		wait.Go(func() {
			for i := worker; i < execs; i += atOnce {
				args := append(slices.Repeat([]string{argument}, 10+i%9), word)
				out, err := exec.Command("/bin/echo", args...).Output()
				if len(out) > 0 {
					printed.Add(1)
				}
				var exit *exec.ExitError
				if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == unix.SIGKILL {
					killed.Add(1)
				}
			}
		})
	}
	for range 3 {
		if err := a.Process.Signal(syscall.SIGHUP); err != nil {
			t.Error(err)
		}
	}
	wait.Wait()
	if int(killed.Load()) != execs || printed.Load() > 0 {
		t.Errorf("of %d banned programs %d were killed and %d printed something", execs, killed.Load(), printed.Load())
	}
	out, err := exec.Command("/bin/echo", slices.Repeat([]string{argument}, 15)...).Output()
	if err != nil || !bytes.HasPrefix(out, []byte(argument)) {
		t.Errorf("a legitimate program: %v", err)
	}
	m := a.Metrics(t)
	if m[`processes_killed_total{source="exec"}`] != float64(execs) || m["execs_undecided_total"] != 0 {
		t.Errorf("counted %v", m)
	}
}
