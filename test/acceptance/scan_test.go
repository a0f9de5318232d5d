package acceptance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// That a pid which is used again cannot mislead a scan is tested where
// processes are read and killed: internal/process.

func TestAScanKillsWhatRanBefore(t *testing.T) {
	testutil.Privileged(t)
	word := newWord()
	honest, banned := sleep(t, "x"+word), sleep(t, word) // scanned in this order
	a := start(t, ruleFile{Strings: []string{word}}, "--scan-interval", "1h")
	banned.isKilled()
	l := a.verdict(t, "killed", banned.Process.Pid)
	if l.Source != "scan" || l.Matched != word || l.PPID != os.Getpid() || l.After <= 0 || l.After > patience.Seconds() ||
		!strings.HasSuffix(l.Cmdline, word) || l.Cgroup != ownCgroup(t) {
		t.Errorf("logged as %+v", l)
	}
	if n := a.metrics(t)[`processes_killed_total{source="scan"}`]; n != 1 {
		t.Errorf("%v killed", n)
	}
	honest.isAlive()
}

func TestAScanFindsAChangedCommandLine(t *testing.T) {
	testutil.Privileged(t)
	word := newWord()
	program := testutil.BuildC(t, "test/victims/rewrite_argv.c")
	s := startSleeper(t, exec.Command(program, strings.Repeat("x", len(word))))
	a := start(t, ruleFile{Strings: []string{word}}, "--scan-interval", "1s")
	if _, err := fmt.Fprintln(s.stdin, "worker "+word); err != nil {
		t.Fatal(err)
	}
	s.isKilled()
	if l := a.verdict(t, "killed", s.Process.Pid); l.Source != "scan" || strings.TrimSpace(l.Cmdline) != "worker "+word || l.Program != program {
		t.Errorf("logged as %+v", l)
	}
}

func TestAProcessThatHangsItsReaderDoesNotStopAScan(t *testing.T) {
	testutil.Privileged(t)
	word := newWord()
	hanging := startSleeper(t, exec.Command(testutil.BuildC(t, "test/victims/hang_cmdline.c")))
	a := start(t, ruleFile{Strings: []string{word}}, "--scan-interval", "1s")
	eventually(t, "a command line that cannot be read", func() bool {
		return a.metrics(t)[`processes_unreadable_total{source="scan"}`] > 0
	})
	a.line(t, "not judged", func(l line) bool {
		return l.Msg == "process not judged" && strings.Contains(l.Err, fmt.Sprintf("process %d:", hanging.Process.Pid))
	})
	rewriting := startSleeper(t, exec.Command(testutil.BuildC(t, "test/victims/rewrite_argv.c"), strings.Repeat("x", len(word))))
	if _, err := fmt.Fprintln(rewriting.stdin, word); err != nil {
		t.Fatal(err)
	}
	rewriting.isKilled()
}

func TestWhatLivesOnIsReportedOnce(t *testing.T) {
	testutil.Privileged(t)
	banned, observed, allowed := newWord(), newWord(), newWord()
	trial := writeJSON(t, "trial.json", ruleFile{Action: "observe", Strings: []string{observed}})
	rules := writeJSON(t, "rules.json", ruleFile{Strings: []string{banned}, Allowed: []string{`.* ` + allowed + ` .*`}})
	spared, watched := sleep(t, allowed, banned), sleep(t, observed)
	a := start(t, ruleFile{}, "--rules", rules, "--rules", trial, "--scan-interval", "1s")
	eventually(t, "three scans", func() bool {
		m := a.metrics(t)
		return m[`processes_allowed_total{allowedby="allowed-pattern",source="scan"}`] >= 3 && m[`processes_observed_total{source="scan"}`] >= 3
	})
	for pid, action := range map[int]string{spared.Process.Pid: "spared", watched.Process.Pid: "observed"} {
		if lines := a.lines(func(l line) bool { return l.PID == pid }); len(lines) != 1 || lines[0].Action != action {
			t.Errorf("want one line %s, got %+v", action, lines)
		}
	}
	spared.isAlive()
	watched.isAlive()
}

// The rules of this test match init, so it only looks.
func TestAScanSparesInitAndTheAgent(t *testing.T) {
	needProgram(t)
	text, err := os.ReadFile("/proc/1/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	init, _, _ := strings.Cut(string(text), "\x00")
	all := writeJSON(t, "all.json", ruleFile{Action: "observe", Substrings: []string{init, "--builtin-rules=false", filepath.Base(os.Args[0])}})
	cmd := exec.Command(cryptnono, "scan", "--builtin-rules=false", "--rules", all)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		pid  int
		want bool
	}{
		{"init", 1, false},
		{"the agent", cmd.Process.Pid, false},
		{"any other process", os.Getpid(), true},
	} {
		if got := strings.Contains(string(out), fmt.Sprintf(`"pid":%d,`, c.pid)); got != c.want {
			t.Errorf("%s: found is %v", c.name, got)
		}
	}
}

func TestAScanWithoutRootSeesTheProcessesOfItsUser(t *testing.T) {
	needProgram(t)
	word := newWord()
	rules := filepath.Join(filepath.Dir(cryptnono), word+".yaml") // where nobody may read
	if err := os.WriteFile(rules, []byte("bannedCommandStrings: ["+word+"]"), 0o644); err != nil {
		t.Fatal(err)
	}
	own := startSleeper(t, asNobody(exec.Command("/bin/sh", "-c", "read -r line", "sh", word)))
	others := sleep(t, word)
	out, err := asNobody(exec.Command(cryptnono, "scan", "--builtin-rules=false", "--rules", rules)).Output()
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(out), "\n"); n != 1 || !strings.Contains(string(out), fmt.Sprintf(`"pid":%d,`, own.Process.Pid)) {
		t.Errorf("want a line on process %d, got %s", own.Process.Pid, out)
	}
	own.isAlive()
	others.isAlive()
}

// As on a node where an old version and a new one overlap, with what they ban in
// their own arguments.
func TestTheAgentOutlivesItsOwnRules(t *testing.T) {
	testutil.Privileged(t)
	banned, observed := newWord(), newWord()
	rules := filepath.Join(t.TempDir(), banned+".json")
	if err := os.Rename(writeJSON(t, "rules.json", ruleFile{Strings: []string{banned}}), rules); err != nil {
		t.Fatal(err)
	}
	trial := writeJSON(t, "trial.json", ruleFile{Action: "observe", Strings: []string{observed}})
	flags := []string{"--rules", rules, "--rules", trial, "--scan-interval", "1s"}
	first := start(t, ruleFile{}, flags...)
	second := start(t, ruleFile{}, flags...)
	dies(t, exec.Command("/bin/echo", banned))
	// Whoever has seen one process twice has seen all others in between.
	sleep(t, observed)
	for _, a := range []*agent{first, second} {
		eventually(t, "a whole scan", func() bool { return a.metrics(t)[`processes_observed_total{source="scan"}`] >= 2 })
	}
}
