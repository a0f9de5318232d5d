package acceptance

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// A successor starts agents with the same rules and pins, one after the other.
type successor struct{ pins, rules, word string }

func newSuccessor(t *testing.T) successor {
	t.Helper()
	s := successor{pins: filepath.Join(testutil.MountBPF(t), "cryptnono"), word: agenttest.NewWord()}
	s.rules = agenttest.WriteJSON(t, "rules.json", agenttest.Rules{Strings: []string{s.word}})
	return s
}

func (s successor) start(t *testing.T) *agenttest.Agent {
	t.Helper()
	return agenttest.Start(t, agenttest.Options{
		Flags: []string{"--rules", s.rules}, Settings: map[string]any{"pins": s.pins}, Status: -1, MayFail: true,
	})
}

// kill ends an agent as a crash does.
func kill(t *testing.T, a *agenttest.Agent) {
	t.Helper()
	if err := a.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	a.End()
}

// interrupt starts an agent and kills it some time later, while it starts or takes over.
func (s successor) interrupt(t *testing.T, after time.Duration) {
	t.Helper()
	settings := agenttest.WriteJSON(t, "settings.json", map[string]any{"pins": s.pins, "builtinRules": false, "rules": []string{s.rules}})
	cmd := exec.Command(agenttest.Program(t), "run", "--config", settings)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100*time.Millisecond + after)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func TestPinnedProtectionOutlivesTheAgent(t *testing.T) {
	s := newSuccessor(t)
	a := s.start(t)
	dies(t, exec.Command("/bin/echo", s.word, "with an agent"))
	kill(t, a)

	alone := exec.Command("/bin/echo", s.word, "without an agent")
	dies(t, alone)

	a = s.start(t)
	l := a.Verdict(t, "killed", alone.Process.Pid)
	if !strings.Contains(l.Cmdline, "without an agent") || l.Matched != s.word || !strings.HasPrefix(l.Rule, s.rules) || !strings.Contains(l.Raw, `"at":"`) {
		t.Errorf("got the line %s", l.Raw)
	}
	a.Line(t, "of what happened meanwhile", func(l agenttest.Line) bool {
		return strings.HasPrefix(l.Msg, "took over") && strings.Contains(l.Raw, `"kills":`)
	})
	dies(t, exec.Command("/bin/echo", s.word, "with the next agent"))
	m := a.Metrics(t)
	if n := m[`processes_killed_total{source="exec"}`]; n != 3 {
		t.Errorf("%v kills are counted, want 3", n)
	}
	if m["cryptnono_pinned"] != 1 {
		t.Error("cryptnono_pinned is not 1")
	}
	a.Stop()
	dies(t, exec.Command("/bin/echo", s.word, "after an orderly end"))

	out, err := exec.Command(agenttest.Program(t), "unpin", "--pins", s.pins).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "execwhacker") {
		t.Errorf("unpin: %v, %s", err, out)
	}
	if _, err := os.Stat(s.pins); !os.IsNotExist(err) {
		t.Errorf("the directory of pins: %v", err)
	}
	agenttest.Eventually(t, "the end of protection", func() bool { return exec.Command("/bin/true", s.word).Run() == nil })
}

// The agent is killed again and again, while it takes over too.
func TestNoExecSurvivesWhileAgentsAreKilled(t *testing.T) {
	s := newSuccessor(t)
	kills := 4 // of agents
	if os.Getenv("SOAK") != "" {
		kills = 50
	}
	last := s.start(t)
	var died, lived atomic.Uint64
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
			}
			cmd := exec.Command("/bin/true", s.word)
			if _ = cmd.Run(); agenttest.Killed(cmd) {
				died.Add(1)
			} else {
				lived.Add(1)
			}
		}
	}()
	for i := range kills {
		kill(t, last)
		if i%2 == 0 { // one that does not live to be ready
			s.interrupt(t, time.Duration(i)*7*time.Millisecond)
		}
		last = s.start(t)
	}
	close(stop)
	<-ended
	if lived.Load() > 0 {
		t.Errorf("%d of %d execs were not killed", lived.Load(), lived.Load()+died.Load())
	}
	m := last.Metrics(t)
	if n := m[`processes_killed_total{source="exec"}`]; n != float64(died.Load()) {
		t.Errorf("%v kills are counted, want %d", n, died.Load())
	}
	t.Logf("%d execs were killed, %v lines lost", died.Load(), m["events_lost_total"])
}
