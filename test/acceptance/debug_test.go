package acceptance

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// started returns the lines of programs that started with a word among their arguments and that no
// rule matches.
func started(a *agenttest.Agent, word string) []agenttest.Line {
	return a.Lines(func(l agenttest.Line) bool {
		return l.Level == "DEBUG" && l.Msg == "a program started" && l.Action == "" && strings.Contains(l.Cmdline, word)
	})
}

func TestEachExecIsLoggedAtLevelDebugWithoutItsSecrets(t *testing.T) {
	banned, word := agenttest.NewWord(), agenttest.NewWord()
	a := startWith(t, agenttest.Rules{Strings: []string{banned}}, map[string]any{"logLevel": "debug", "logEnv": []string{"API_TOKEN", "URL"}})
	secret := "hunter2" + agenttest.NewWord()
	commands := [][]string{
		{"/bin/echo", word, "--password=" + secret, "-u", "WALLET"},
		{"/bin/echo", word, "--token", secret, "two words", ""},
		{"/bin/echo", word, "Authorization: Bearer " + secret},
		{"/bin/sh", "-c", "echo " + word + " https://me:" + secret + "@host.example/ \u202e…"},
		{"/bin/echo", word, banned, "--api-key=" + secret},
	}
	for i, c := range commands {
		cmd := exec.Command(c[0], c[1:]...)
		cmd.Env = []string{"API_TOKEN=" + secret, "URL=ftp://me:" + secret + "@host.example/"}
		if i < len(commands)-1 {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v, with output %s", err, out)
			}
		} else {
			dies(t, cmd)
		}
	}
	cmd := exec.Command("/bin/echo", word)
	cmd.Args[0] = "a name with spaces"
	lives(t, cmd, word+"\n")
	agenttest.Eventually(t, "all lines", func() bool { return len(started(a, word)) == len(commands) })
	const env = `"env":{"API_TOKEN":"***","URL":"ftp://me:***@host.example/"}`
	var got []string
	for _, l := range started(a, word) {
		if strings.Contains(l.Raw, "***") && !strings.Contains(l.Raw, env) {
			t.Errorf("%s", l.Raw)
		}
		got = append(got, l.Program+": "+strings.ReplaceAll(l.Cmdline, word, "WORD"))
	}
	want := []string{
		"/bin/echo: /bin/echo WORD --password=*** -u WALLET",
		"/bin/echo: /bin/echo WORD --token *** two words ",
		"/bin/echo: /bin/echo WORD Authorization: ***",
		`/bin/sh: /bin/sh -c echo WORD https://***@host.example/ \u202e\u2026`,
		`/bin/echo: a\x20name\x20with\x20spaces WORD`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	l := a.Line(t, "of the kill", func(l agenttest.Line) bool { return l.Action == "killed" && strings.Contains(l.Cmdline, word) })
	if !strings.HasSuffix(l.Cmdline, banned+" --api-key=***") || !strings.Contains(l.Raw, env) {
		t.Errorf("%s", l.Raw)
	}
	for _, l := range a.Lines(func(l agenttest.Line) bool { return strings.Contains(l.Raw, secret) }) {
		t.Errorf("a secret: %s", l.Raw)
	}
}

func TestTheLevelDebugTakesEffectByAReload(t *testing.T) {
	word := agenttest.NewWord()
	a := start(t, agenttest.Rules{Strings: []string{agenttest.NewWord()}})
	lives(t, exec.Command("/bin/echo", word), word+"\n")
	a.Set(t, map[string]any{"logLevel": "debug"})
	a.Reload(t)
	second := agenttest.NewWord()
	lives(t, exec.Command("/bin/echo", second), second+"\n")
	agenttest.Eventually(t, "its line", func() bool { return len(started(a, second)) == 1 })
	a.Set(t, map[string]any{"logLevel": "info"})
	a.Reload(t)
	third := agenttest.NewWord()
	lives(t, exec.Command("/bin/echo", third), third+"\n")
	a.Stop()
	if n := len(started(a, word)) + len(started(a, third)); n > 0 {
		t.Errorf("%d lines at level info", n)
	}
}

// The flood has more execs than lines in a minute.
func TestAFloodOfExecsAtLevelDebugSuppressesNoKill(t *testing.T) {
	testutil.Privileged(t)
	storm, banned, word := testutil.BuildC(t, "test/victims/storm.c", "-static"), agenttest.NewWord(), agenttest.NewWord()
	a := startWith(t, agenttest.Rules{Strings: []string{banned}}, map[string]any{"logLevel": "debug"})
	const execs, kills = 20_000, 8
	cmd := exec.Command(storm, "4", fmt.Sprint(execs), "1")
	cmd.Stdin = strings.NewReader(word)
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	for range kills {
		victim := exec.Command("/bin/echo", banned)
		dies(t, victim)
		pids = append(pids, victim.Process.Pid)
		time.Sleep(50 * time.Millisecond)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d execs in %v", execs, time.Since(began))
	for _, pid := range pids {
		a.Verdict(t, "killed", pid)
	}
	const logged = "execs_not_logged_total"
	agenttest.Eventually(t, "that the others are counted", func() bool {
		return len(started(a, word))+int(a.Metrics(t)[logged]) >= execs
	})
	if m := a.Metrics(t); m["events_lost_total"] > 0 || m["cryptnono_log_lines_lost_total"] > 0 {
		t.Errorf("%v events and %v lines are lost", m["events_lost_total"], m["cryptnono_log_lines_lost_total"])
	}
	dropped := int(a.Metrics(t)[logged])
	a.Stop()
	n := 0
	for _, l := range a.Lines(func(l agenttest.Line) bool { return l.Msg == "execs not logged" }) {
		n += l.Execs
	}
	if n < dropped || n == 0 || len(started(a, word)) < 1000 {
		t.Errorf("%d lines, %d execs without one, and the log says %d", len(started(a, word)), dropped, n)
	}
}

// check gives the verdict of the agent to the lines of its log.
func TestCheckReadsTheLog(t *testing.T) {
	banned, trial, word := agenttest.NewWord(), agenttest.NewWord(), agenttest.NewWord()
	rules := agenttest.Rules{Strings: []string{banned}, Allowed: []string{`/bin/echo .*fine .*`}}
	observed := agenttest.WriteJSON(t, "trial.json", agenttest.Rules{Action: "observe", Strings: []string{trial}})
	a := startWith(t, rules, map[string]any{"logLevel": "debug"})
	a.Set(t, map[string]any{"rules": []string{a.Rules, observed}})
	a.Reload(t)
	odd := "\x1b\xff…\u202e \\x20"
	for _, argv := range [][]string{
		{"/bin/echo", word, "none", odd},
		{"an argv0 " + odd, word, odd, banned},
		{banned, word},
		{"x " + banned + " y", word},
		{"/bin/echo", word, "this is fine now", banned},
		{"this is fine now " + banned, word, "x"},
		{"/bin/echo", word, trial},
		{"/bin/echo", word, trial, "--token", "x", banned},
	} {
		cmd := exec.Command("/bin/echo", argv[1:]...)
		cmd.Args[0] = argv[0]
		_ = cmd.Run()
	}
	of := func(l agenttest.Line) bool {
		return strings.Contains(l.Cmdline, word) && (l.Action != "" || l.Level == "DEBUG")
	}
	agenttest.Eventually(t, "all lines", func() bool { return len(a.Lines(of)) == 8 })
	a.Stop()
	var log strings.Builder
	for _, l := range a.Lines(func(agenttest.Line) bool { return true }) {
		fmt.Fprintln(&log, l.Raw)
	}
	cmd := exec.Command(agenttest.Program(t), "check", "--config", a.Settings, "--commands", "-", "--json")
	cmd.Stdin = strings.NewReader(log.String())
	out, err := cmd.Output()
	if cmd.ProcessState.ExitCode() != 3 {
		t.Fatalf("%v, with output %s", err, out)
	}
	actions := map[string]string{"killed": "killed", "observed": "observed", "spared": "allowed", "": "none"}
	results := strings.Split(string(out), "\n")
	for i, l := range a.Lines(func(agenttest.Line) bool { return true }) {
		var r struct {
			Line          int
			Action        string
			Rule, Allowed string
		}
		if err := json.Unmarshal([]byte(results[i]), &r); err != nil {
			t.Fatal(err)
		}
		want := actions[l.Action]
		if l.Program == "" {
			want = "skipped"
		}
		if r.Line != i+1 || r.Action != want || r.Rule != l.Rule {
			t.Errorf("%s\nhas the result %s", l.Raw, results[i])
		}
	}
}
