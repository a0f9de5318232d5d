package acceptance

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

func TestCombinationsKill(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	hello, name := buildVictims(t).hello, agenttest.NewWord()
	wallet := "4" + strings.Repeat("AbCdE9", 15)
	long := strings.Repeat("x ", 60_000)
	a := start(t, agenttest.Rules{
		Programs:     []string{name + "-*"},
		Patterns:     []string{` --algo[ =](?:rx/|gr(?: |$))`},
		Combinations: [][]string{{`\b4[1-9A-HJ-NP-Za-km-z]{80,}\b`, ` (?:-u|--user)[ =]`}},
	})
	for _, tt := range []struct{ args, matched string }{
		{"-u " + wallet, wallet + " + -u"},
		{wallet + ".rig -k --user=x", wallet + " + --user="},
		{"--algo gr", "--algo gr"},
		{"--algo=rx/0 -o x", "--algo=rx/"},
	} {
		cmd := exec.Command(hello, strings.Fields(tt.args)...)
		dies(t, cmd)
		if l := a.Verdict(t, "killed", cmd.Process.Pid); l.Matched != tt.matched || l.Source != "exec" {
			t.Errorf("%s: %s", tt.args, l.Raw)
		}
	}
	dies(t, exec.Command(hello, long, "-u", long, wallet))
	dies(t, exec.Command(copyFile(t, hello, name+"-6.22.2")))
	for _, cmd := range []*exec.Cmd{
		exec.Command(hello, "--tip", wallet), exec.Command(hello, "-u", "root"), exec.Command(hello, "-u", long, "4x"),
		exec.Command(hello, "--algo", "grep"), exec.Command(hello, "/opt/"+name+"-6.tar"), exec.Command(copyFile(t, hello, name+"-6/hello")),
	} {
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%.200q: %v, with output %q", cmd.Args, err, out)
		}
	}
}

func TestAShellIsSparedForItsText(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	v, word := buildVictims(t), agenttest.NewWord()
	a := start(t, agenttest.Rules{Strings: []string{word}, SpareShells: true})
	text := v.hello + " " + word + "; echo $? " + word
	for _, args := range [][]string{
		{"-c", text}, {"-ec", "set +e; " + text}, {"-c", text, "sh", "x"}, {"-c", text + strings.Repeat(" #", 50_000)},
	} {
		shell := exec.Command("/bin/sh", args...)
		out, err := shell.Output()
		if want := "137 " + word + "\n"; err != nil || !strings.HasSuffix(string(out), want) {
			t.Errorf("%.200q printed %q and ended with %v; want the program killed and the shell not", args, out, err)
		}
		if l := a.Verdict(t, "spared", shell.Process.Pid); l.Allowed != a.Rules+" spareShells" || l.Matched != word {
			t.Errorf("%s", l.Raw)
		}
		a.Line(t, "killed", func(l agenttest.Line) bool { return l.Action == "killed" && l.PPID == shell.Process.Pid })
	}
	for _, cmd := range []*exec.Cmd{
		exec.Command("/bin/sh", "-c", word), // one word
		exec.Command("/bin/sh", "-c", "sleep 1; true", word),
		exec.Command(v.fake, v.hello, "/bin/sh", "-x", "-c", "config json", word), // a miner named sh
	} {
		dies(t, cmd)
	}
}

func TestTheEnvironmentIsSearchedWhereARuleFileAsks(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	hello, word := buildVictims(t).hello, agenttest.NewWord()
	with := func(cmd *exec.Cmd, vars ...string) *exec.Cmd {
		cmd.Env = append(os.Environ(), vars...)
		return cmd
	}
	rules := agenttest.Rules{
		Strings: []string{word}, Combinations: [][]string{{`\bDONATE_LEVEL=`, `\bPOOL_URL=`}}, Environment: "kill",
	}
	a := start(t, rules)
	for _, cmd := range []*exec.Cmd{
		with(exec.Command(hello), "A="+word), with(exec.Command(hello), "POOL_URL=x", "DONATE_LEVEL=0"),
		with(exec.Command(hello, strings.Repeat("x ", 50_000)), "A="+word),
		with(exec.Command(hello), "B="+strings.Repeat("x ", 60_000), "A="+word),
	} {
		dies(t, cmd)
		if l := a.Verdict(t, "killed", cmd.Process.Pid); !strings.Contains(l.Raw, `"environment":true`) {
			t.Errorf("%s", l.Raw)
		}
	}
	if out, err := with(exec.Command(hello), "POOL_URL=x").CombinedOutput(); err != nil {
		t.Errorf("%v, with output %q", err, out)
	}
	a.Stop()
	rules.Environment = ""
	start(t, rules)
	if out, err := with(exec.Command(hello), "A="+word).CombinedOutput(); err != nil {
		t.Errorf("without environment: %v, with output %q", err, out)
	}
}
