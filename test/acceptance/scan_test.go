package acceptance

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// Reuse of pids is tested in internal/process.

// scans waits for more than n further scans.
func scans(t *testing.T, a *agenttest.Agent, n float64) {
	t.Helper()
	before := a.Metrics(t)["scans_total"]
	agenttest.Eventually(t, "scans", func() bool { return a.Metrics(t)["scans_total"] > before+n })
}

// reload replaces the rules of the agent and waits until they are in force.
func reload(t *testing.T, a *agenttest.Agent, rules agenttest.Rules) {
	t.Helper()
	text, err := json.Marshal(rules)
	if err != nil {
		t.Fatal(err)
	}
	before := reloads(a, "reloaded")
	write(t, a.Rules, string(text))
	agenttest.Eventually(t, "the reload", func() bool { return reloads(a, "reloaded") > before })
}

func TestAScanKillsOlderProcesses(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	const tick = 0.01 // the resolution of start times in seconds
	word := agenttest.NewWord()
	began := time.Now()
	honest, banned := sleep(t, "x"+word), sleep(t, word) // scanned in this order
	a := start(t, agenttest.Rules{Strings: []string{word}}, "--scan-interval", "1h")
	banned.isKilled()
	l := a.Verdict(t, "killed", banned.Process.Pid)
	if l.Source != "scan" || l.Matched != word || l.PPID != os.Getpid() || l.After <= 0 || l.After > time.Since(began).Seconds()+tick ||
		!strings.HasSuffix(l.Cmdline, word) || l.Cgroup != ownCgroup(t) {
		t.Errorf("%v after the start, by %d in %s, logged as %+v", time.Since(began), os.Getpid(), ownCgroup(t), l)
	}
	if n := a.Metrics(t)[`processes_killed_total{source="scan"}`]; n != 1 {
		t.Errorf("%v killed", n)
	}
	honest.isAlive()
}

// A program may overwrite its arguments with a title, also one that others choose, as PostgreSQL
// does with the user name of a client. A title must not cause a kill, whether the exec was seen or
// not.
func TestATitleIsNoEvidence(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	word := agenttest.NewWord()
	program := testutil.BuildC(t, "test/victims/rewrite_argv.c")
	titled := func() *sleeper {
		s := startSleeper(t, exec.Command(program, strings.Repeat("x", 2*len(word))))
		if _, err := fmt.Fprintln(s.stdin, "worker "+word); err != nil {
			t.Fatal(err)
		}
		agenttest.Eventually(t, "the title", func() bool {
			text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.Process.Pid))
			return strings.Contains(string(text), word)
		})
		return s
	}
	older := titled()
	a := start(t, agenttest.Rules{Strings: []string{word}}, "--scan-interval", "1s")
	younger := titled()
	scans(t, a, 2)
	// New rules cause a scan of all processes.
	reload(t, a, agenttest.Rules{Strings: []string{word, agenttest.NewWord()}})
	scans(t, a, 2)
	older.isAlive()
	younger.isAlive()
	dies(t, exec.Command("/bin/echo", word))
}

// New rules are matched against the path and the arguments of the exec, as at the exec.
func TestNewRulesAreMatchedAgainstTheExec(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	word := agenttest.NewWord()
	dir, script := t.TempDir(), writeProgram(t, "script", "#!/bin/sh\nread -r line\n")
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/bin/sh", link); err != nil {
		t.Fatal(err)
	}
	a := start(t, agenttest.Rules{Strings: []string{agenttest.NewWord()}}, "--scan-interval", "1h")
	run := func(args ...string) *sleeper { return startSleeper(t, exec.Command(args[0], args[1:]...)) }
	byScript, byLink := run(script, word), run(link, "-c", "read -r line", word)
	banned := run("/bin/sh", "-c", "read -r line", word)
	fifo := filepath.Join(dir, "fifo") // which has no end, as the pipe of a shell has that was killed
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	forked := run("/bin/sh", "-c", "exec 3<>"+fifo+"; (read -r line <&3) & wait", word)
	rules := agenttest.Rules{Strings: []string{word}, Allowed: []string{script + " .*", link + " .*"}}
	reload(t, a, rules)
	banned.isKilled()
	forked.isKilled()
	agenttest.Eventually(t, "the kill of the fork", func() bool {
		return len(a.Lines(func(l agenttest.Line) bool { return l.Action == "killed" && l.PPID == forked.Process.Pid })) == 1
	})
	if l := a.Verdict(t, "killed", banned.Process.Pid); l.Source != "scan" || l.Program != "/bin/sh" {
		t.Errorf("%s", l.Raw)
	}
	for _, s := range []*sleeper{byScript, byLink} {
		a.Verdict(t, "spared", s.Process.Pid)
		s.isAlive()
	}
}

func TestAProcessThatHangsItsReaderDoesNotStopAScan(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	word := agenttest.NewWord()
	hanging := startSleeper(t, exec.Command(testutil.BuildC(t, "test/victims/hang_cmdline.c")))
	banned := sleep(t, word)
	a := start(t, agenttest.Rules{Strings: []string{word}}, "--scan-interval", "1s")
	banned.isKilled()
	agenttest.Eventually(t, "a command line that cannot be read", func() bool {
		return a.Metrics(t)[`processes_unreadable_total{source="scan"}`] > 0
	})
	a.Line(t, "not judged", func(l agenttest.Line) bool {
		return l.Msg == "process not judged" && strings.Contains(l.Err, fmt.Sprintf("process %d:", hanging.Process.Pid))
	})
}

func TestAProcessThatIsNotKilledIsJudgedOnce(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	banned, observed, allowed := agenttest.NewWord(), agenttest.NewWord(), agenttest.NewWord()
	trial := agenttest.WriteJSON(t, "trial.json", agenttest.Rules{Action: "observe", Strings: []string{observed}})
	rules := agenttest.WriteJSON(t, "rules.json", agenttest.Rules{Strings: []string{banned}, Allowed: []string{`.* ` + allowed + ` .*`}})
	spared, watched := sleep(t, allowed, banned), sleep(t, observed)
	a := start(t, agenttest.Rules{}, "--rules", rules, "--rules", trial, "--scan-interval", "1s")
	scans(t, a, 3)
	m := a.Metrics(t)
	if m[`processes_allowed_total{allowedby="allowed-pattern",source="scan"}`] != 1 || m[`processes_observed_total{source="scan"}`] != 1 {
		t.Errorf("counted %v", m)
	}
	for pid, action := range map[int]string{spared.Process.Pid: "spared", watched.Process.Pid: "observed"} {
		if lines := a.Lines(func(l agenttest.Line) bool { return l.PID == pid }); len(lines) != 1 || lines[0].Action != action {
			t.Errorf("want one line %s, got %+v", action, lines)
		}
	}
	spared.isAlive()
	watched.isAlive()
}

// The rules match init, so they only observe.
func TestAScanSparesInitAndTheAgent(t *testing.T) {
	text, err := os.ReadFile("/proc/1/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	init, _, _ := strings.Cut(string(text), "\x00")
	all := agenttest.WriteJSON(t, "all.json", agenttest.Rules{Action: "observe", Substrings: []string{init, "--builtin-rules=false", filepath.Base(os.Args[0])}})
	cmd := exec.Command(agenttest.Program(t), "scan", "--builtin-rules=false", "--rules", all)
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

func TestAScanThatFindsNothingSaysSo(t *testing.T) {
	rules := agenttest.WriteJSON(t, "none.json", agenttest.Rules{Action: "observe", Strings: []string{agenttest.NewWord()}})
	cmd := exec.Command(agenttest.Program(t), "scan", "--builtin-rules=false", "--rules", rules)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if out, err := cmd.Output(); err != nil || len(out) != 0 || !strings.HasSuffix(stderr.String(), "no running process matches a rule\n") {
		t.Errorf("got %q, %q, %v", out, stderr.String(), err)
	}
}

func TestAScanWithoutRootSeesTheProcessesOfItsUser(t *testing.T) {
	t.Parallel()
	word := agenttest.NewWord()
	rules := filepath.Join(filepath.Dir(agenttest.Program(t)), word+".yaml") // any user can read this directory
	if err := os.WriteFile(rules, []byte("bannedCommandStrings: ["+word+"]"), 0o644); err != nil {
		t.Fatal(err)
	}
	own := startSleeper(t, asNobody(exec.Command("/bin/sh", "-c", "read -r line", "sh", word)))
	others := sleep(t, word)
	out, err := asNobody(exec.Command(agenttest.Program(t), "scan", "--builtin-rules=false", "--rules", rules)).Output()
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(out), "\n"); n != 1 || !strings.Contains(string(out), fmt.Sprintf(`"pid":%d,`, own.Process.Pid)) {
		t.Errorf("want a line on process %d, got %s", own.Process.Pid, out)
	}
	own.isAlive()
	others.isAlive()
}

// Two agents run at the same time, as during an update, with banned words in their own arguments.
func TestAgentsAreNotKilledByTheirOwnRules(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	banned, observed := agenttest.NewWord(), agenttest.NewWord()
	rules := filepath.Join(t.TempDir(), banned+".json")
	if err := os.Rename(agenttest.WriteJSON(t, "rules.json", agenttest.Rules{Strings: []string{banned}}), rules); err != nil {
		t.Fatal(err)
	}
	trial := agenttest.WriteJSON(t, "trial.json", agenttest.Rules{Action: "observe", Strings: []string{observed}})
	flags := []string{"--rules", rules, "--rules", trial, "--scan-interval", "1s"}
	first := start(t, agenttest.Rules{}, flags...)
	second := start(t, agenttest.Rules{}, flags...)
	dies(t, exec.Command("/bin/echo", banned))
	for _, a := range []*agenttest.Agent{first, second} {
		scans(t, a, 2)
	}
}
