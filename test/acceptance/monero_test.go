package acceptance

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// A moneroLine is what the detector adds to the line of a verdict.
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

func (l line) monero(t *testing.T) moneroLine {
	t.Helper()
	var m moneroLine
	if err := json.Unmarshal([]byte(l.raw), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// startMonero starts the agent with this detector alone, and its settings.
func startMonero(t *testing.T, settings map[string]any, allowed ...string) *agent {
	t.Helper()
	needProgram(t)
	if settings == nil {
		settings = map[string]any{}
	}
	return start(t, ruleFile{}, "--config", writeJSON(t, "monero.json", map[string]any{
		"rules":        []string{writeJSON(t, "allowed.json", ruleFile{Allowed: allowed})},
		"builtinRules": false,
		"listen":       "127.0.0.1:0",
		"execwhacker":  map[string]any{"enabled": false},
		"monero":       settings,
	}))
}

// A crunching is a program that computes for ever, and all that it starts.
type crunching struct {
	*exec.Cmd
	t    *testing.T
	dead chan struct{} // closed when the last of its processes has ended
}

// crunch starts a program that computes for ever.
func crunch(t *testing.T, program string, args ...string) *crunching {
	t.Helper()
	c := &crunching{exec.Command(program, args...), t, make(chan struct{})}
	// All its processes hold the other end, and none writes.
	held, other, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.ExtraFiles = []*os.File{other}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	other.Close()
	go func() {
		defer close(c.dead)
		_, _ = io.Copy(io.Discard, held)
		held.Close()
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		<-c.dead
		_ = c.Wait()
	})
	return c
}

// isKilled waits until the agent has killed it, and returns the line that says
// so.
func (c *crunching) isKilled(a *agent) line {
	c.t.Helper()
	select {
	case <-c.dead:
	case <-time.After(4 * patience): // a miner prepares its memory first
		c.t.Fatalf("still alive: %s", c)
	}
	return a.line(c.t, "of its death", func(l line) bool { return l.Action == "killed" && l.Program == c.Path })
}

// isAlive checks that none of its processes has ended.
func (c *crunching) isAlive() {
	c.t.Helper()
	select {
	case <-c.dead:
		c.t.Errorf("dead: %s", c)
	default:
	}
}

func buildMiner(t *testing.T) string {
	t.Helper()
	return testutil.BuildC(t, "test/victims/randomx_miner.c", "-lrandomx")
}

// No miner here has a telling name or option, or opens a socket.
func TestMinersAreFoundByHowTheyRound(t *testing.T) {
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
			t.Logf("%.1f s after its start by %s: %+v", l.After, l.Rule, l.monero(t).Evidence)
		})
	}
}

// No process of it lives long enough to be judged alone.
func TestAMinerThatStartsItselfAgainAndAgainIsFound(t *testing.T) {
	testutil.Privileged(t)
	a := startMonero(t, nil)
	l := crunch(t, buildMiner(t), "1", "light", "jit", "500").isKilled(a)
	if of := l.monero(t).Evidence.Of; of != "cgroup" {
		t.Errorf("found by the samples of the %s: %s", of, l.raw)
	}
}

func TestAMinerWithATenthOfACPUIsFound(t *testing.T) {
	testutil.Privileged(t)
	a := startMonero(t, nil)
	c := crunch(t, buildMiner(t), "1", "light", "jit")
	throttle(t, c.Process.Pid, 10)
	l := c.isKilled(a)
	t.Logf("%.1f s after its start", l.After)
}

// throttle gives a process a part of a CPU, through a cgroup of its own.
func throttle(t *testing.T, pid, percent int) {
	t.Helper()
	group, limit, value := "/sys/fs/cgroup/cryptnono-test", "cpu.max", strconv.Itoa(percent*1000)+" 100000"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err != nil { // cgroup v1
		group, limit, value = "/sys/fs/cgroup/cpu/cryptnono-test", "cpu.cfs_quota_us", strconv.Itoa(percent*1000)
	} else if err := os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+cpu"), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(group, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // before that of the process, which is killed by then
		for end := time.Now().Add(patience); os.Remove(group) != nil; time.Sleep(10 * time.Millisecond) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			if time.Now().After(end) {
				t.Errorf("%s is left", group)
				return
			}
		}
	})
	for file, text := range map[string]string{limit: value, "cgroup.procs": strconv.Itoa(pid)} {
		if err := os.WriteFile(group+"/"+file, []byte(text), 0); err != nil {
			t.Fatal(err)
		}
	}
}

// One agent watches them all at once, and a miner among them, in their cgroup.
func TestHonestProgramsLive(t *testing.T) {
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
	time.Sleep(25*time.Second - time.Since(began))
	for _, c := range honest {
		c.isAlive()
	}
	for _, l := range a.lines(func(l line) bool { return l.Action == "killed" && l.PID != mining.Process.Pid }) {
		t.Errorf("killed too: %s", l.raw)
	}
}

// Few programs, of little memory, so that the slowest machine has its answer.
func TestHonestRoundingLivesBesideAMiner(t *testing.T) {
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
	sampled := a.metrics(t)["cryptnono_monero_samples_total"]
	eventually(t, "three times 64 samples more", func() bool {
		return a.metrics(t)["cryptnono_monero_samples_total"] >= sampled+3*64
	})
	for _, c := range honest {
		c.isAlive()
	}
}

func TestWhatIsSparedOrObservedIsToldOnce(t *testing.T) {
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
		{"the same, with killUncorroborated", map[string]any{"killUncorroborated": true}, nil, modes, "nduz 0 random", "killed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := startMonero(t, c.settings, c.allowed...)
			p := crunch(t, c.program, strings.Fields(c.args)...)
			l := a.verdict(t, c.want, p.Process.Pid)
			if c.want != "killed" {
				time.Sleep(3 * time.Second)
				p.isAlive()
			}
			if n := len(a.lines(func(l line) bool { return l.PID == p.Process.Pid })); n != 1 {
				t.Errorf("told %d times", n)
			}
			if c.allowed != nil && !strings.HasSuffix(l.Allowed, "allowedCommandPatterns[0]") {
				t.Errorf("allowed by %q", l.Allowed)
			}
		})
	}
}

func TestTheLineOfAMinerSaysWhatWasSeen(t *testing.T) {
	testutil.Privileged(t)
	a := startMonero(t, nil)
	c := crunch(t, buildMiner(t), "2", "light", "jit")
	l := c.isKilled(a)
	if l.Detector != "monero" || l.Source != "rounding" || l.PID != c.Process.Pid || l.PPID != os.Getpid() ||
		l.UID != os.Getuid() || l.Cmdline != strings.Join(c.Args, " ") || l.Cgroup == "" || l.After <= 0 {
		t.Errorf("%s", l.raw)
	}
	m := l.monero(t)
	e := m.Evidence
	if sum := e.Nearest + e.Down + e.Up + e.Zero; sum < .99 || sum > 1.01 {
		t.Errorf("the shares add up to %v", sum)
	}
	if e.Of == "" || e.Samples < 64 || e.Window <= 0 || e.Window > 120 || m.Threads != 3 || m.CPU <= 0 {
		t.Errorf("%s", l.raw)
	}
	if m.Resident < 256 {
		t.Errorf("%d MiB resident", m.Resident)
	}
	counted := a.metrics(t)
	if n := counted[`cryptnono_monero_processes_killed_total{rule="jit"}`] + counted[`cryptnono_monero_processes_killed_total{rule="pattern"}`]; n != 1 {
		t.Errorf("killed %v by the metrics", n)
	}
	if counted["cryptnono_monero_samples_total"] < 64 || counted["cryptnono_monero_samples_lost_total"] != 0 {
		t.Errorf("metrics %v", counted)
	}
}

func TestTheMetricsOfMoneroAreThereFromTheStart(t *testing.T) {
	a := startMonero(t, nil)
	m := a.metrics(t)
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

// What lives by settings does not live on by them.
func TestWhatIsObservedIsKilledWhenTheSettingsSaySo(t *testing.T) {
	testutil.Privileged(t)
	jit := testutil.BuildC(t, "test/victims/directed_jit.c")
	settings := func(action string) map[string]any {
		return map[string]any{
			"builtinRules": false, "listen": "127.0.0.1:0", "execwhacker": map[string]any{"enabled": false},
			"monero": map[string]any{"action": action},
		}
	}
	file := writeJSON(t, "monero.json", settings("observe"))
	a := start(t, ruleFile{}, "--config", file)
	p := crunch(t, jit, "anonymous")
	a.verdict(t, "observed", p.Process.Pid)
	p.isAlive()
	text, err := json.Marshal(settings("kill"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, string(text))
	p.isKilled(a)
}
