package acceptance

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// Each container has a first process, and a loop that starts a banned program again and again, which
// the kernel kills.
func TestALoopOfBannedProgramsIsEndedWithItsContainer(t *testing.T) {
	testutil.Privileged(t)
	const kills = 20
	word := agenttest.NewWord()
	a := startWith(t, agenttest.Rules{Strings: []string{word}}, map[string]any{
		"exemptions": map[string]any{"cgroups": []string{"/docker/" + strings.Repeat("e", 64)}},
		"escalation": map[string]any{"container": "kill", "containerKills": kills, "parent": "observe", "parentKills": 5},
	})
	run := func(id, script string) *exec.Cmd {
		cmd := agenttest.InCgroup(t, "/docker/"+strings.Repeat(id, 64), exec.Command("/bin/sh", "-c", script))
		cmd.Env = []string{"WORD=" + word}
		return cmd
	}
	// With a pause, so that the step of the parent is due before that of the container.
	const loop = "(while :; do /bin/echo $WORD; sleep 0.05; done) >/dev/null 2>&1 & wait; "
	exempt := startSleeper(t, run("e", "(while :; do /bin/echo $WORD; sleep 0.01; done) >/dev/null & wait"))
	first := run("a", loop)
	if err := first.Run(); err == nil || first.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("it ended with %v", err)
	}
	step := a.Line(t, "the end of the container", func(l agenttest.Line) bool { return l.Detector == "escalation" && l.Source == "container" })
	var made struct{ Kills int }
	if err := json.Unmarshal([]byte(step.Raw), &made); err != nil || made.Kills < kills {
		t.Errorf("%d kills, %v", made.Kills, err)
	}
	if step.Action != "killed" || step.Msg != "killed a container" || step.PID != first.Process.Pid ||
		!strings.Contains(step.Rule, "bannedCommandStrings[0]") || !strings.HasPrefix(step.Cgroup, "/docker/a") {
		t.Errorf("%s", step.Raw)
	}
	if l := a.Line(t, "the parent", func(l agenttest.Line) bool { return l.Source == "parent" }); l.Action != "observed" || l.PPID != first.Process.Pid {
		t.Errorf("%s", l.Raw)
	}
	select {
	case <-exempt.ended:
		t.Error("the exempt container was ended")
	default:
	}
	for source, action := range map[string]string{"container": "killed", "parent": "observed"} {
		if n := a.Metrics(t)[fmt.Sprintf(`cryptnono_verdicts_total{action=%q,detector="escalation",source=%q}`, action, source)]; n < 1 {
			t.Errorf("%v steps %s are counted", n, source)
		}
	}

	// The loop is ended, and the container lives.
	a.Set(t, map[string]any{"escalation": map[string]any{"parent": "kill", "parentKills": 5}})
	a.Reload(t)
	out, err := run("b", loop+"echo the loop has ended").Output()
	if err != nil || string(out) != "the loop has ended\n" {
		t.Errorf("%q, %v", out, err)
	}
}
