package acceptance

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// A moneroLine has the fields of this detector in a verdict line.
type moneroLine struct {
	Evidence struct {
		Of      string
		Window  float64 `json:"window_seconds"`
		Samples int
		Nearest float64 `json:"nearest_share"`
		Down    float64 `json:"down_share"`
		Up      float64 `json:"up_share"`
		Zero    float64 `json:"zero_share"`
		JIT     float64 `json:"jit_share"`
	}
	Resident uint64  `json:"resident_mib"`
	CPU      float64 `json:"cpu_seconds"`
	Threads  int
}

func moneroOf(t *testing.T, l agenttest.Line) moneroLine {
	t.Helper()
	var m moneroLine
	if err := json.Unmarshal([]byte(l.Raw), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// startMonero starts the agent with only this detector.
func startMonero(t *testing.T, settings map[string]any, allowed ...string) *agenttest.Agent {
	t.Helper()
	if settings == nil {
		settings = map[string]any{}
	}
	return startWith(t, agenttest.Rules{Allowed: allowed}, map[string]any{
		"execwhacker": map[string]any{"enabled": false},
		"monero":      settings,
	})
}

// A crunching is a program that computes until it is killed, and its descendants.
type crunching struct {
	*agenttest.Group
	t *testing.T
}

// crunch starts a program that computes until it is killed.
func crunch(t *testing.T, program string, args ...string) *crunching {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return &crunching{agenttest.StartGroup(t, cmd), t}
}

// isKilled waits until the agent has killed the program, and returns the log line.
func (c *crunching) isKilled(a *agenttest.Agent) agenttest.Line {
	c.t.Helper()
	if !c.Dead(4 * agenttest.Patience()) { // a miner prepares its memory first
		c.t.Fatalf("still alive: %s", c)
	}
	return a.Line(c.t, "of its death", func(l agenttest.Line) bool { return l.Action == "killed" && l.Program == c.Path })
}

// isAlive checks that one of the processes lives.
func (c *crunching) isAlive() {
	c.t.Helper()
	if c.Dead(time.Millisecond) {
		c.t.Errorf("has ended: %s", c)
	}
}

func buildMiner(t *testing.T) string {
	t.Helper()
	return testutil.BuildC(t, "test/victims/randomx_miner.c", "-lrandomx")
}

// The miners have no suspicious names, options or connections.
func TestMinersAreFoundByTheirRoundingModes(t *testing.T) {
	testutil.Privileged(t)
	miner := buildMiner(t)
	jit := testutil.BuildC(t, "test/victims/directed_jit.c")
	a := startMonero(t, nil)

	for name, c := range map[string]struct {
		program string
		args    string
		rule    string // empty for any
	}{
		"light, compiled":                           {miner, "1 light jit", ""},
		"light, compiled, two threads":              {miner, "2 light jit", ""},
		"light, compiled, no page writable and run": {miner, "1 light secure", ""},
		"light, interpreted":                        {miner, "1 light interpreter", "monero pattern"},
		"fast, compiled":                            {miner, "1 fast jit", ""},
		"fast, interpreted":                         {miner, "2 fast interpreter", "monero pattern"},
		"a new process every two seconds":           {miner, "1 light jit 2000", ""},
		"one directed mode, compiled":               {jit, "anonymous", "monero jit"},
		"one directed mode, compiled to a file":     {jit, "twice", "monero jit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := crunch(t, copyFile(t, c.program, "python3"), strings.Fields(c.args)...).isKilled(a)
			if c.rule != "" && l.Rule != c.rule {
				t.Errorf("by the rule %q, want %q", l.Rule, c.rule)
			}
			t.Logf("%.1f s after its start by %s: %+v", l.After, l.Rule, moneroOf(t, l).Evidence)
		})
	}
}

// None of its processes lives long enough to be found by its own samples.
func TestAMinerThatKeepsRestartingIsFound(t *testing.T) {
	testutil.Privileged(t)
	a := startMonero(t, nil)
	l := crunch(t, buildMiner(t), "1", "light", "jit", "500").isKilled(a)
	if of := moneroOf(t, l).Evidence.Of; of != "cgroup" {
		t.Errorf("found by the samples of the %s: %s", of, l.Raw)
	}
}

func TestAMinerWithATenthOfACPUIsFound(t *testing.T) {
	testutil.Privileged(t)
	a := startMonero(t, nil)
	cmd := exec.Command(buildMiner(t), "1", "light", "jit")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c := &crunching{agenttest.StartGroup(t, cmd), t}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "mining\n" { // its memory is ready
		t.Fatalf("%q: %v", line, err)
	}
	write(t, agenttest.CPULimit(t, "cryptnono-tenth", 10)+"/cgroup.procs", strconv.Itoa(c.Process.Pid))
	l := c.isKilled(a)
	t.Logf("%.1f s after its start", l.After)
}

// One agent samples all of them and a miner in the same cgroup at the same time.
func TestLegitimateProgramsLive(t *testing.T) {
	testutil.Privileged(t)
	modes := testutil.BuildC(t, "test/victims/honest_modes.c")
	boost := testutil.BuildC(t, "test/victims/honest_boost.cpp", "-lstdc++", "-lm")
	cgal := testutil.BuildC(t, "test/victims/honest_cgal.cpp", "-lstdc++", "-lgmp", "-lmpfr", "-lm")
	miner := buildMiner(t)
	a := startMonero(t, nil)
	var honest []*crunching
	for _, args := range []string{
		"u 1000", "d 1000", "z 1000", "f 1000", // one mode
		"ud 1", "ud 100000", "udn 1000", "zn 100", // some modes, in turn
		"nduz 200000", "nduz 1000000", // all four, as test suites do
		"nduz 0 random", // like RandomX, but without its memory
	} {
		honest = append(honest, crunch(t, modes, strings.Fields(args)...))
	}
	for _, program := range []string{boost, cgal} {
		honest = append(honest, crunch(t, program))
	}
	mining := crunch(t, miner, "2", "light", "jit")
	began := time.Now()
	mining.isKilled(a)
	t.Logf("the miner lived for %v", time.Since(began))
	time.Sleep(15*time.Second - time.Since(began))
	for _, c := range honest {
		c.isAlive()
	}
	for _, l := range a.Lines(func(l agenttest.Line) bool { return l.Action == "killed" && l.PID != mining.Process.Pid }) {
		t.Errorf("killed too: %s", l.Raw)
	}
}

// A few programs with little memory, for slow machines.
func TestLegitimateRoundingLivesBesideAMiner(t *testing.T) {
	testutil.Privileged(t)
	modes, jit := testutil.BuildC(t, "test/victims/honest_modes.c"), testutil.BuildC(t, "test/victims/directed_jit.c")
	a := startMonero(t, nil)
	var honest []*crunching
	for _, args := range []string{"u 1000", "ud 1000", "nduz 200000"} {
		honest = append(honest, crunch(t, modes, strings.Fields(args)...))
	}
	if l := crunch(t, jit, "anonymous").isKilled(a); l.Rule != "monero jit" {
		t.Errorf("killed by the rule %q", l.Rule)
	}
	sampled := a.Metrics(t)["cryptnono_monero_samples_total"]
	agenttest.Eventually(t, "three times 64 samples more", func() bool {
		return a.Metrics(t)["cryptnono_monero_samples_total"] >= sampled+3*64
	})
	for _, c := range honest {
		c.isAlive()
	}
}

func TestASparedOrObservedProcessIsLoggedOnce(t *testing.T) {
	testutil.Privileged(t)
	miner, jit := buildMiner(t), testutil.BuildC(t, "test/victims/directed_jit.c")
	modes := testutil.BuildC(t, "test/victims/honest_modes.c")
	for _, c := range []struct {
		name     string
		settings map[string]any
		allowed  []string
		program  string
		args     string
		want     string
	}{
		{"allowed by a pattern", nil, []string{`.*/directed_jit anonymous`}, jit, "anonymous", "spared"},
		{"action observe", map[string]any{"action": "observe"}, nil, miner, "1 light jit", "observed"},
		{"random modes without the memory of RandomX", nil, nil, modes, "nduz 0 random", "observed"},
		{"the same, with killWithoutMemoryEvidence", map[string]any{"killWithoutMemoryEvidence": true}, nil, modes, "nduz 0 random", "killed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := startMonero(t, c.settings, c.allowed...)
			p := crunch(t, c.program, strings.Fields(c.args)...)
			l := a.Verdict(t, c.want, p.Process.Pid)
			if c.want != "killed" {
				time.Sleep(3 * time.Second)
				p.isAlive()
			}
			// Without an action it is a line about a failed read, as on a busy machine.
			if n := len(a.Lines(func(l agenttest.Line) bool { return l.PID == p.Process.Pid && l.Action != "" })); n != 1 {
				t.Errorf("logged %d times", n)
			}
			if c.allowed != nil && !strings.HasSuffix(l.Allowed, "allowedCommandPatterns[0]") {
				t.Errorf("allowed by %q", l.Allowed)
			}
		})
	}
}

func TestTheLineOfAMinerHasTheEvidence(t *testing.T) {
	testutil.Privileged(t)
	a := startMonero(t, nil)
	c := crunch(t, buildMiner(t), "2", "light", "jit")
	l := c.isKilled(a)
	if l.Detector != "monero" || l.Source != "rounding" || l.PID != c.Process.Pid || l.PPID != os.Getpid() ||
		l.UID != os.Getuid() || l.Cmdline != strings.Join(c.Args, " ") || l.Cgroup == "" || l.After <= 0 {
		t.Errorf("%s", l.Raw)
	}
	m := moneroOf(t, l)
	e := m.Evidence
	if sum := e.Nearest + e.Down + e.Up + e.Zero; sum < .99 || sum > 1.01 {
		t.Errorf("the shares add up to %v", sum)
	}
	if e.Of == "" || e.Samples < 64 || e.Window <= 0 || e.Window > 120 || m.Threads != 3 || m.CPU <= 0 {
		t.Errorf("%s", l.Raw)
	}
	if m.Resident < 256 {
		t.Errorf("%d MiB resident", m.Resident)
	}
	counted := a.Metrics(t)
	if n := counted[`cryptnono_monero_processes_killed_total{rule="jit"}`] + counted[`cryptnono_monero_processes_killed_total{rule="pattern"}`]; n != 1 {
		t.Errorf("killed %v by the metrics", n)
	}
	if counted["cryptnono_monero_samples_total"] < 64 || counted["cryptnono_monero_samples_lost_total"] != 0 {
		t.Errorf("metrics %v", counted)
	}
}

func TestTheMetricsOfMoneroExistFromTheStart(t *testing.T) {
	a := startMonero(t, nil)
	m := a.Metrics(t)
	for _, series := range []string{
		"samples_total", "samples_lost_total", "suspects", "processes_missed_total", "processes_unreadable_total",
		`processes_killed_total{rule="jit"}`, `processes_killed_total{rule="pattern"}`,
		`processes_observed_total{rule="jit"}`, `processes_observed_total{rule="pattern"}`,
		`processes_spared_total{rule="jit"}`, `processes_spared_total{rule="pattern"}`,
	} {
		if _, there := m["cryptnono_monero_"+series]; !there {
			t.Errorf("no %s", series)
		}
	}
}

func TestAnObservedProcessIsKilledAfterAChangeOfTheAction(t *testing.T) {
	testutil.Privileged(t)
	jit := testutil.BuildC(t, "test/victims/directed_jit.c")
	a := startMonero(t, map[string]any{"action": "observe"})
	p := crunch(t, jit, "anonymous")
	a.Verdict(t, "observed", p.Process.Pid)
	p.isAlive()
	text, err := os.ReadFile(a.Settings)
	if err != nil {
		t.Fatal(err)
	}
	write(t, a.Settings, strings.Replace(string(text), `"observe"`, `"kill"`, 1))
	p.isKilled(a)
}
