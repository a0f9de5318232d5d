package acceptance

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

func TestSimilarCommandLinesAreNotKilled(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	hello, word, program := testutil.BuildC(t, "test/victims/hello.c"), agenttest.NewWord(), agenttest.NewWord()
	a := start(t, agenttest.Rules{
		Strings:  []string{word},
		Programs: []string{program},
		Allowed:  []string{`\S*/hello allowed .*`},
	})
	withEnv := exec.Command(hello)
	withEnv.Env = []string{"WORD=" + word, word + "=1"}

	for _, c := range []struct {
		name string
		cmd  *exec.Cmd
	}{
		{"the word within larger words", exec.Command(hello, "x"+word, word+"9", "_"+word+"_", word+word)},
		{"the word split into two arguments", exec.Command(hello, word[:12], word[12:])},
		{"the word in the environment", withEnv},
		{"the program's name as an argument", exec.Command(hello, program)},
		{"the program's name within a larger one", exec.Command(copyFile(t, hello, program+"d"))},
		{"the program's name as a directory", exec.Command(copyFile(t, hello, program+"/hello"))},
		{"a line that is allowed", exec.Command(hello, "allowed", word, program)},
		{"a long line that is allowed", exec.Command(hello, append([]string{"allowed", word}, many(19, 100<<10)...)...)},
		{"1.9 MiB of other arguments", exec.Command(hello, many(19, 100<<10)...)},
	} {
		t.Run(c.name, func(t *testing.T) { lives(t, c.cmd, fmt.Sprintf("ran %d\n", len(c.cmd.Args))) })
	}
	m := a.Metrics(t)
	if m[`processes_killed_total{source="exec"}`] != 0 || m[`processes_allowed_total{allowedby="allowed-pattern",source="exec"}`] != 2 {
		t.Errorf("counted %v", m)
	}
}

func TestAFailedExecKillsNoProcess(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	word := agenttest.NewWord()
	start(t, agenttest.Rules{Strings: []string{word}, Programs: []string{word}})
	forbidden := copyFile(t, "/bin/echo", word+"/forbidden")
	for _, c := range []struct {
		name string
		cmd  *exec.Cmd
		want error
	}{
		{"a program that does not exist", exec.Command(filepath.Join(t.TempDir(), word)), syscall.ENOENT},
		{"a program that may not be executed", asNobody(exec.Command(forbidden)), syscall.EACCES},
		{"a file that is no program", exec.Command(writeProgram(t, word, "\x00")), syscall.ENOEXEC},
		{"more arguments than the kernel takes", exec.Command("/bin/echo", word, strings.Repeat("x", 128<<10)), syscall.E2BIG},
	} {
		// The child that failed must live to return the error.
		t.Run(c.name, func(t *testing.T) {
			if err := c.cmd.Run(); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	dies(t, exec.Command("/bin/echo", word))
}

func TestTheCommandCheckMayHaveBannedArguments(t *testing.T) {
	testutil.Privileged(t)
	word := agenttest.NewWord()
	a := start(t, agenttest.Rules{Strings: []string{word}})
	check := exec.Command(agenttest.Program(t), "check", "--builtin-rules=false", "--rules", a.Rules, "--", "/bin/echo", word)
	out, _ := check.CombinedOutput()
	want := fmt.Sprintf("would be killed: matches %q (%s:1 bannedCommandStrings[0])\n", word, a.Rules)
	if check.ProcessState.ExitCode() != 3 || string(out) != want {
		t.Errorf("%v, with output %q, want %q", check.ProcessState, out, want)
	}
	dies(t, exec.Command("/bin/echo", word))

	// A copy of the program is not exempt, so the word must come from standard input.
	other := filepath.Join(t.TempDir(), "cryptnono")
	text, err := os.ReadFile(agenttest.Program(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, text, 0o755); err != nil {
		t.Fatal(err)
	}
	dies(t, exec.Command(other, check.Args[1:]...))
	check = exec.Command(other, "check", "--builtin-rules=false", "--rules", a.Rules, "-")
	check.Stdin = strings.NewReader("/bin/echo\n" + word + "\n")
	if out, _ := check.CombinedOutput(); check.ProcessState.ExitCode() != 3 || string(out) != want {
		t.Errorf("%v, with output %q, want %q", check.ProcessState, out, want)
	}
}

func TestObservingKillsNothing(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	hello, observed, banned := testutil.BuildC(t, "test/victims/hello.c"), agenttest.NewWord(), agenttest.NewWord()
	trial := agenttest.WriteJSON(t, "trial.json", agenttest.Rules{Action: "observe", Strings: []string{observed}})
	rules := agenttest.WriteJSON(t, "rules.json", agenttest.Rules{Strings: []string{banned}})
	for _, c := range []struct {
		name  string
		flags []string
		rule  string
		word  string
		dies  []string // arguments of another program that must be killed, nil for none
	}{
		{"by the flag", []string{"--rules", rules, "--action", "observe"}, rules, banned, nil},
		{"by a rule file", []string{"--rules", rules, "--rules", trial}, trial, observed, []string{observed, banned}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := start(t, agenttest.Rules{}, c.flags...)
			cmd := exec.Command(hello, c.word)
			lives(t, cmd, "ran 2\n")
			l := a.Verdict(t, "observed", cmd.Process.Pid)
			if l.Matched != c.word || l.Rule != c.rule+":1 bannedCommandStrings[0]" {
				t.Errorf("logged as %+v", l)
			}
			if c.dies != nil {
				dies(t, exec.Command(hello, c.dies...))
			}
			m := a.Metrics(t)
			if m[`processes_observed_total{source="exec"}`] != 1 || (m[`processes_killed_total{source="exec"}`] != 0) != (c.dies != nil) {
				t.Errorf("counted %v", m)
			}
		})
	}
}
