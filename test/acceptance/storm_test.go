package acceptance

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// The kernel decides and counts on its own: the agent is stopped all the while.
func TestAStormLosesNothingWhileTheAgentIsStopped(t *testing.T) {
	testutil.Privileged(t)
	storm, word := testutil.BuildC(t, "test/victims/storm.c", "-static"), newWord()
	a := start(t, ruleFile{Strings: []string{word}})
	if err := a.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(storm, "8", "20000", "100")
	cmd.Stdin = strings.NewReader(word)
	lives(t, cmd, "200 0 0 19800\n")
	if err := a.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}

	m := a.metrics(t)
	if m[`processes_killed_total{source="exec"}`] != 200 || m["execs_unjudged_total"] != 0 ||
		m[`processes_checked_total{source="exec"}`] < 20000 ||
		m[`processes_allowed_total{allowedby="no-match",source="exec"}`] < 19800 {
		t.Errorf("counted %v", m)
	}
	logged := 200 - int(m["events_lost_total"])
	if logged == 0 {
		t.Error("all events were lost")
	}
	found := func() int {
		return len(a.lines(func(l line) bool { return l.Action == "killed" && l.Matched == word }))
	}
	eventually(t, "the lines of all events", func() bool { return found() >= logged })
	if n := found(); n != logged {
		t.Errorf("%d lines, want %d", n, logged)
	}
}
