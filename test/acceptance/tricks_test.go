package acceptance

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// trickTries returns how many times each trick is tried: CRYPTNONO_TRIES, if it is set.
func trickTries(t *testing.T) int {
	t.Helper()
	if n, err := strconv.Atoi(os.Getenv("CRYPTNONO_TRIES")); err == nil && n > 0 {
		return n
	}
	return testutil.Rounds(t, 1000)
}

// Readable arguments are judged before the first instruction, so a banned program must not evade
// the kill by what it does there or by the form of its arguments. The test logs for each trick
// how many programs lived or executed an instruction, in a line that test/kernels parses.
func TestNoTrickOutlivesTheVerdict(t *testing.T) {
	testutil.Privileged(t)
	act, rename := testutil.BuildC(t, "test/victims/act.c", "-static"), testutil.BuildC(t, "test/victims/fake_argv0.c", "-static")
	word := agenttest.NewWord()
	start(t, agenttest.Rules{
		Strings: []string{word}, Substrings: []string{word[:14] + "+tcp://"},
		// The second one matches text that also ends the long argv[0] below.
		Allowed: []string{rename + ` .*`, `\S*x*-v2 /srv/ok `},
	})
	// A chunk of prefixes of a ban.
	padding := strings.Repeat(word[:8], 16384/8)
	for _, trick := range []struct {
		name, act string
		args      []string
	}{
		{"argv wiped", "wipe", []string{act, word}},
		{"forked on", "fork", []string{act, word}},
		{"executed on", "exec", []string{act, word}},
		{"padding", "wipe", []string{act, padding, word}},
		{"argv[0] beyond a chunk", "wipe", []string{rename, act, word + " " + strings.Repeat("x", 20_000) + "-v2 /srv/ok "}},
	} {
		t.Run(trick.name, func(t *testing.T) {
			tries, lived := trickTries(t), 0
			honest := slices.Clone(trick.args)
			for i := range honest {
				honest[i] = strings.ReplaceAll(honest[i], word, "honest")
			}
			if !outlives(t, trick.act, act, honest) {
				t.Error("a legitimate program that does the same was killed")
			}
			for range tries {
				if outlives(t, trick.act, act, trick.args) {
					lived++
				}
			}
			t.Logf("trick: %s: %d of %d lived", trick.name, lived, tries)
			if lived > 0 {
				t.Fail()
			}
		})
	}
}

// outlives reports whether a program executed an instruction or lived.
func outlives(t *testing.T, what, next string, args []string) bool {
	t.Helper()
	lived, err := outlivesAs(t, what, next, args, func(*exec.Cmd) {})
	if err != nil {
		t.Fatal(err)
	}
	return lived
}

// outlivesAs is outlives for a command that change has modified. It returns the error of a failed
// exec.
func outlivesAs(t *testing.T, what, next string, args []string, change func(*exec.Cmd)) (lived bool, err error) {
	t.Helper()
	ran, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer ran.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "ACT="+what, "NEXT="+next)
	cmd.Stdout = write
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	change(cmd)
	err = cmd.Start()
	write.Close()
	if err != nil {
		return false, err
	}
	// With SIGQUIT, to distinguish it from a kill by the agent.
	late := time.AfterFunc(agenttest.Patience(), func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGQUIT) })
	defer late.Stop()
	// The program and its child write a byte when they run.
	n, _ := ran.Read(make([]byte, 1))
	if n > 0 {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGQUIT)
	}
	_ = cmd.Wait()
	return n > 0 || !agenttest.Killed(cmd), nil
}
