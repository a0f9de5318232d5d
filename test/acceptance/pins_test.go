package acceptance

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// A successor starts agents with the same rules and pins, one after the other.
type successor struct {
	program  string
	pins     string
	settings map[string]any
	word     string // is banned
	address  string // is banned, and of no other test
}

func newSuccessor(t *testing.T) successor {
	t.Helper()
	s := successor{program: agenttest.Program(t), pins: filepath.Join(testutil.MountBPF(t), "cryptnono"), word: agenttest.NewWord(), address: "127.113.57.93"}
	s.settings = map[string]any{
		"pins":          s.pins,
		"rules":         []string{agenttest.WriteJSON(t, "rules.json", map[string]any{"bannedCommandStrings": []string{s.word}, "bannedAddresses": []string{s.address}})},
		"builtinRules":  false,
		"tcpflowkiller": map[string]any{"enabled": true, "action": "refuse"},
		"monero":        map[string]any{"enabled": false},
		"hashwork":      map[string]any{"enabled": false},
	}
	return s
}

func (s successor) start(t *testing.T) *agenttest.Agent {
	t.Helper()
	return agenttest.Start(t, agenttest.Options{Program: s.program, Settings: s.settings, Status: -1, MayFail: true})
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
	cmd := exec.Command(s.program, "run", "--config", agenttest.WriteJSON(t, "settings.json", s.settings))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100*time.Millisecond + after)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func TestPinnedProtectionOutlivesTheAgent(t *testing.T) {
	s := newSuccessor(t)
	exempt := writeProgram(t, "exempt", readText(t, "/bin/echo"))
	s.settings["exemptions"] = map[string]any{"programs": []string{exempt}}
	s.settings["killLimit"] = map[string]any{"perMinute": 2}
	a := s.start(t)
	dies(t, exec.Command("/bin/echo", s.word, "with an agent"))
	kill(t, a)

	alone := exec.Command("/bin/echo", s.word, "without an agent")
	dies(t, alone)
	limited, spared := exec.Command("/bin/echo", s.word), exec.Command(exempt, s.word)
	lives(t, limited, s.word+"\n")
	lives(t, spared, s.word+"\n")

	a = s.start(t)
	l := a.Verdict(t, "killed", alone.Process.Pid)
	if !strings.Contains(l.Cmdline, "without an agent") || l.Matched != s.word || !strings.Contains(l.Rule, "rules.json") || !strings.Contains(l.Raw, `"at":"`) {
		t.Errorf("got the line %s", l.Raw)
	}
	a.Verdict(t, "observed", limited.Process.Pid)
	a.Verdict(t, "spared", spared.Process.Pid)
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

// Agents of two versions are killed one after the other, while they take over too: each start is an
// upgrade or a downgrade. Banned programs start and banned connections are made meanwhile.
func TestNothingSurvivesWhileAgentsAreKilled(t *testing.T) {
	s := newSuccessor(t)
	kills, execs, connections := 2, uint64(0), uint64(0)
	if os.Getenv("SOAK") != "" {
		kills, execs, connections = 50, 20_000, 2_000
	}
	versions := []string{s.program, buildAnother(t)}
	last := s.start(t)
	storm := agenttest.StartStorm(t, s.word, s.address)
	for i := range kills {
		kill(t, last)
		before := s.builds(t)
		s.program = versions[(i+1)%len(versions)]
		if i%2 == 0 { // one that does not live to be ready
			s.interrupt(t, time.Duration(i)*7*time.Millisecond)
		}
		last = s.start(t)
		if now := s.builds(t); i == 0 && slices.Equal(before, now) {
			t.Errorf("the other version has the same builds: %q", now)
		}
		if i == 0 { // else what is left of the version before is still there at the next start
			s.awaitRemoval(t)
		}
	}
	s.awaitRemoval(t)
	died, refused := storm.End(t, execs, connections)
	m := last.Metrics(t)
	if n := m[`processes_killed_total{source="exec"}`]; n != float64(died) {
		t.Errorf("%v kills are counted, want %d", n, died)
	}
	if n := m[`cryptnono_flowkiller_refused_total{reason="banned-ip"}`]; n != float64(refused) {
		t.Errorf("%v refused connections are counted, want %d", n, refused)
	}
	t.Logf("%d execs were killed and %d connections refused, %v lines lost", died, refused, m["events_lost_total"])
}

func (s successor) awaitRemoval(t *testing.T) {
	t.Helper()
	agenttest.Eventually(t, "the removal of the version before", func() bool { return len(s.builds(t)) == 2 })
}

// builds returns the directories of the builds that have pins.
func (s successor) builds(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(s.pins, "*", "????????????????"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(found, func(name string) bool { return strings.Contains(filepath.Base(name), "_") }) // entries
}
