package acceptance

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

func TestManyBansWork(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	hello := testutil.BuildC(t, "test/victims/hello.c")
	for _, n := range []int{50_000, 200_000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			bans := randomBans(n, 8, 37)
			a := start(t, agenttest.Rules{Strings: bans})
			for _, ban := range []string{bans[0], bans[n/2], bans[n-1]} {
				cmd := exec.Command(hello, "-o", ban)
				dies(t, cmd)
				if l := a.Verdict(t, "killed", cmd.Process.Pid); l.Matched != ban {
					t.Errorf("%q was killed for %q", ban, l.Matched)
				}
			}
			lives(t, exec.Command(hello, "-o", bans[0]+"x", "x"+bans[1]), "ran 4\n")
		})
	}
}

func TestMoreBansThanFitAreAnError(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(agenttest.Program(t), "check")
	for range 3 {
		cmd.Args = append(cmd.Args, "--rules", agenttest.WriteJSON(t, "rules.json", agenttest.Rules{Strings: randomBans(500, 4095, 4095)}))
	}
	largest := agenttest.WriteJSON(t, "large.json", agenttest.Rules{Strings: randomBans(1, 4096, 4096)})
	cmd.Args = append(cmd.Args, "--rules", largest)
	cmd.Args = append(cmd.Args, "--", "/bin/echo")
	out, _ := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), largest+":") ||
		!strings.Contains(string(out), "need more than 5242880 states") || !strings.Contains(string(out), "of 4096 bytes: use fewer or shorter ones") {
		t.Errorf("%v, with output %q", cmd.ProcessState, out)
	}
}

// randomBans returns n words of least to most bytes that no other program on
// this machine is likely to have as an argument.
func randomBans(n, least, most int) []string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	bans := make([]string, n)
	for i := range bans {
		ban := make([]byte, least+rand.IntN(most-least+1))
		for j := range ban {
			ban[j] = letters[rand.IntN(len(letters))]
		}
		bans[i] = string(ban)
	}
	return bans
}
