package acceptance

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// startWith starts the agent with settings of its own besides the rules.
func startWith(t *testing.T, rules ruleFile, settings map[string]any) *agent {
	t.Helper()
	all := map[string]any{
		"rules":        []string{writeJSON(t, "rules.json", rules)},
		"builtinRules": false,
		"scanInterval": "0",
		"listen":       "127.0.0.1:0",
		"monero":       map[string]any{"enabled": false},
	}
	maps.Copy(all, settings)
	return start(t, ruleFile{}, "--config", writeJSON(t, "settings.json", all))
}

// cgroupRoot returns the directory of cgroup v2.
func cgroupRoot() string {
	const root = "/sys/fs/cgroup"
	if _, err := os.Stat(root + "/cgroup.procs"); err != nil {
		return root + "/unified" // beside v1
	}
	return root
}

// knows waits until the agent has told the kernel how a cgroup stands. It was told of
// the cgroup when that was made, but a test is quicker than any container runtime.
func (a *agent) knows(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(cgroupRoot() + path)
	if err != nil {
		t.Fatal(err)
	}
	key := [2]uint64{info.Sys().(*syscall.Stat_t).Ino}
	eventually(t, path+" in the kernel's map", func() bool {
		for _, id := range held[ebpf.MapID](t, a.Process.Pid, "map_id") {
			m, err := ebpf.NewMapFromID(id)
			if err != nil {
				continue // closed meanwhile
			}
			info, err := m.Info()
			var standing uint32
			found := err == nil && info.Name == "cgroups" && m.Lookup(key, &standing) == nil
			m.Close()
			if found {
				return true
			}
		}
		return false
	})
}

// inCgroup makes a cgroup of that path, which lasts as long as the test, and has cmd
// start in it.
func inCgroup(t *testing.T, path string, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	dir := cgroupRoot()
	for name := range strings.SplitSeq(path[1:], "/") {
		dir += "/" + name
		if err := os.Mkdir(dir, 0o755); errors.Is(err, os.ErrExist) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		dir := dir
		t.Cleanup(func() { eventually(t, dir+" is removed", func() bool { return os.Remove(dir) == nil }) })
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(f.Fd())
	return cmd
}

// podCgroup returns the path of a pod's container that no runtime knows.
func podCgroup(id string) string {
	return "/kubepods/besteffort/pod11111111-2222-3333-4444-555555555555/" + strings.Repeat(id, 64)
}

func TestACgroupIsExemptWithAllBelowIt(t *testing.T) {
	word := newWord()
	a := startWith(t, ruleFile{Strings: []string{word}}, map[string]any{
		"exemptions": map[string]any{"cgroups": []string{"/cryptnono-exempt*"}},
	})
	for path, marked := range map[string]string{
		"/cryptnono-exempt":                  "/cryptnono-exempt",
		"/cryptnono-exempt1/below/and/below": "/cryptnono-exempt1",
	} {
		cmd := inCgroup(t, path, exec.Command("/bin/echo", word))
		a.knows(t, marked)
		lives(t, cmd, word+"\n")
		if l := a.verdict(t, "spared", cmd.Process.Pid); l.Allowed != "cgroup /cryptnono-exempt*" || l.Cgroup != path {
			t.Errorf("%s", l.raw)
		}
	}
	other := inCgroup(t, "/cryptnono-other/cryptnono-exempt", exec.Command("/bin/echo", word))
	a.knows(t, "/cryptnono-other/cryptnono-exempt")
	dies(t, other)
	dies(t, exec.Command("/bin/echo", word))
	m := a.metrics(t)
	if m[`processes_exempt_total{source="exec"}`] != 2 || m[`processes_killed_total{source="exec"}`] != 2 {
		t.Errorf("counted %v exempt, %v killed", m[`processes_exempt_total{source="exec"}`], m[`processes_killed_total{source="exec"}`])
	}
}

func TestAProgramIsExemptOnTheHostButNotInAContainer(t *testing.T) {
	word := newWord()
	a := startWith(t, ruleFile{Strings: []string{word}}, map[string]any{
		"exemptions": map[string]any{"programs": []string{"/bin/echo"}},
	})
	cmd := exec.Command("/bin/echo", word)
	lives(t, cmd, word+"\n")
	if l := a.verdict(t, "spared", cmd.Process.Pid); l.Allowed != "program /bin/echo" {
		t.Errorf("%s", l.raw)
	}
	dies(t, exec.Command("/bin/cat", word))
	dies(t, exec.Command("/../bin/echo", word))
	own := exec.Command("/bin/echo", word)
	own.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	dies(t, own)
}

// No runtime knows of the pod, so whether it is exempt is not found out.
func TestAPodThatNobodyKnowsIsNotKilledWhileNamespacesAreExempt(t *testing.T) {
	word := newWord()
	a := startWith(t, ruleFile{Strings: []string{word}}, map[string]any{
		"exemptions": map[string]any{"namespaces": []string{"kube-system"}},
	})
	unknown := startSleeper(t, inCgroup(t, podCgroup("a"), exec.Command("/bin/sh", "-c", "read -r line", "sh", word)))
	eventually(t, "the question", func() bool { return a.metrics(t)[`container_verdicts_total{result="timeout"}`] == 1 })
	unknown.isAlive()
	dies(t, exec.Command("/bin/echo", word)) // outside of pods all is known

	// What is in a container but in no pod, is in no namespace.
	path := "/docker/" + strings.Repeat("b", 64)
	contained := inCgroup(t, path, exec.Command("/bin/echo", word))
	a.knows(t, path)
	dies(t, contained)
	a.stop()

	b := startWith(t, ruleFile{Strings: []string{word}}, nil)
	cmd := inCgroup(t, podCgroup("a"), exec.Command("/bin/echo", word))
	dies(t, cmd)
	b.verdict(t, "killed", cmd.Process.Pid)
}

// A process may not choose the container that it is in.
func TestACgroupBelowAContainerExemptsNobody(t *testing.T) {
	word := newWord()
	a := startWith(t, ruleFile{Strings: []string{word}}, map[string]any{
		"exemptions": map[string]any{"cgroups": []string{"/cryptnono-exempt", "/*/*/*", "/*/*/*/*/*"}},
	})
	path := "/docker/" + strings.Repeat("c", 64)
	cmd := inCgroup(t, path+"/cryptnono-exempt", exec.Command("/bin/echo", word))
	a.knows(t, path)
	dies(t, cmd)
}

func TestTheBrakeWithholdsKillsBeyondItsLimit(t *testing.T) {
	word := newWord()
	a := startWith(t, ruleFile{Strings: []string{word}}, map[string]any{"brake": map[string]any{"killsPerMinute": 3}})
	for range 3 {
		dies(t, exec.Command("/bin/echo", word))
	}
	held := exec.Command("/bin/echo", word)
	lives(t, held, word+"\n")
	if l := a.verdict(t, "observed", held.Process.Pid); !strings.Contains(l.raw, `"braked":true`) {
		t.Errorf("%s", l.raw)
	}
	a.line(t, "that the brake is engaged", func(l line) bool { return l.Msg == "brake engaged" && l.Level == "WARN" })
	m := a.metrics(t)
	if m[`cryptnono_brake_engaged{scope="node"}`] != 1 || m[`processes_withheld_total{source="exec"}`] != 1 || m[`processes_killed_total{source="exec"}`] != 3 {
		t.Errorf("metrics %v", m)
	}

	if err := a.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	a.line(t, "that the brake has let go", func(l line) bool { return l.Msg == "brake released" })
	dies(t, exec.Command("/bin/echo", word))
}

func TestTheBrakeOfAContainerConcernsItAlone(t *testing.T) {
	word := newWord()
	a := startWith(t, ruleFile{Strings: []string{word}}, map[string]any{"brake": map[string]any{"containerKillsPerMinute": 1}})
	one, two := "/docker/"+strings.Repeat("d", 64), "/docker/"+strings.Repeat("e", 64)
	first, third := inCgroup(t, one, exec.Command("/bin/echo", word)), inCgroup(t, two, exec.Command("/bin/echo", word))
	a.knows(t, one)
	a.knows(t, two)
	dies(t, first)
	lives(t, inCgroup(t, one+"/below", exec.Command("/bin/echo", word)), word+"\n")
	dies(t, third)
	if n := a.metrics(t)[`cryptnono_brake_engaged{scope="container"}`]; n != 1 {
		t.Errorf("%v containers' brakes are engaged", n)
	}
}

// The scan kills in user space, by the same brake and the same exemptions.
func TestTheScanHonoursBrakeAndExemptions(t *testing.T) {
	testutil.Privileged(t)
	word := newWord()
	sleeper := func() *exec.Cmd { return exec.Command("/bin/sh", "-c", "read -r line", "sh", word) }
	exempt := startSleeper(t, inCgroup(t, "/cryptnono-exempt", sleeper()))
	one, two := startSleeper(t, sleeper()), startSleeper(t, sleeper())
	a := startWith(t, ruleFile{Strings: []string{word}}, map[string]any{
		"scanInterval": "1s",
		"exemptions":   map[string]any{"cgroups": []string{"/cryptnono-exempt"}},
		"brake":        map[string]any{"killsPerMinute": 1},
	})
	a.verdict(t, "spared", exempt.Process.Pid)
	first := a.line(t, "of a kill", func(l line) bool { return l.Action == "killed" })
	second := a.line(t, "of a kill withheld", func(l line) bool { return l.Action == "observed" })
	if pids := [2]int{first.PID, second.PID}; pids != [2]int{one.Process.Pid, two.Process.Pid} && pids != [2]int{two.Process.Pid, one.Process.Pid} {
		t.Errorf("of %d and %d: %s\n%s", one.Process.Pid, two.Process.Pid, first.raw, second.raw)
	}
	exempt.isAlive()
}

func TestChosenVariablesOfTheEnvironmentAreLogged(t *testing.T) {
	word := newWord()
	a := startWith(t, ruleFile{Strings: []string{word}}, map[string]any{"logEnv": []string{"BINDER_REF_URL", "NOT_THERE", "LATE"}})
	env := []string{"SECRET=hidden", "BINDER_REF_URL=https://example.org/\x1b[31m", "FILL=" + strings.Repeat("x", 16384), "LATE=beyond what is kept"}
	killed := exec.Command("/bin/echo", word)
	killed.Env = env
	dies(t, killed)
	l := a.verdict(t, "killed", killed.Process.Pid)
	var got struct{ Env map[string]string }
	if err := json.Unmarshal([]byte(l.raw), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Env) != 1 || got.Env["BINDER_REF_URL"] != `https://example.org/\x1b[31m` || strings.Contains(l.raw, "hidden") {
		t.Errorf("%s", l.raw)
	}
	a.stop()

	b := startWith(t, ruleFile{Strings: []string{word}}, nil)
	again := exec.Command("/bin/echo", word)
	again.Env = env
	dies(t, again)
	if l := b.verdict(t, "killed", again.Process.Pid); strings.Contains(l.raw, "BINDER_REF_URL") {
		t.Errorf("logged without being asked for: %s", l.raw)
	}
}

// reloads returns how often the agent has said that it reloaded, or refused to.
func (a *agent) reloads(msg string) int {
	return len(a.lines(func(l line) bool { return strings.HasPrefix(l.Msg, msg) }))
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAChangeOfARuleFileTakesEffect(t *testing.T) {
	word, second := newWord(), newWord()
	a := start(t, ruleFile{Strings: []string{word}})
	began := time.Now()
	write(t, a.rules, `{"bannedCommandStrings": ["`+second+`"]}`)
	eventually(t, "the reload", func() bool { return a.reloads("reloaded") == 1 })
	if took := time.Since(began); took > 2*time.Second {
		t.Logf("it took %v", took)
	}
	lives(t, exec.Command("/bin/echo", word), word+"\n")
	cmd := exec.Command("/bin/echo", second)
	dies(t, cmd)
	if l := a.verdict(t, "killed", cmd.Process.Pid); l.Matched != second {
		t.Errorf("%s", l.raw)
	}
}

// As the kubelet updates a mounted ConfigMap: a new directory, and one link that
// is put in the place of another.
func TestAConfigMapThatIsUpdatedTakesEffect(t *testing.T) {
	words := []string{newWord(), newWord()}
	dir := t.TempDir()
	update := func(version int) {
		t.Helper()
		name := "..v" + strconv.Itoa(version)
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name, "rules.yaml"), "bannedCommandStrings: ["+words[version]+"]\n")
		err := errors.Join(os.Symlink(name, filepath.Join(dir, "..tmp")), os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")))
		if err != nil {
			t.Fatal(err)
		}
	}
	update(0)
	if err := os.Symlink("..data/rules.yaml", filepath.Join(dir, "rules.yaml")); err != nil {
		t.Fatal(err)
	}
	a := start(t, ruleFile{}, "--rules", dir)
	dies(t, exec.Command("/bin/echo", words[0]))
	update(1)
	eventually(t, "the reload", func() bool { return a.reloads("reloaded") == 1 })
	lives(t, exec.Command("/bin/echo", words[0]), words[0]+"\n")
	dies(t, exec.Command("/bin/echo", words[1]))
}

func TestABadFileIsRefusedAsAWholeAndTheOldRulesStay(t *testing.T) {
	word, second := newWord(), newWord()
	a := start(t, ruleFile{Strings: []string{word}})
	write(t, a.rules, "bannedCommandStrings: ["+second+", '']\n")
	l := a.line(t, "that the reload was refused", func(l line) bool { return strings.HasPrefix(l.Msg, "reload refused") })
	if l.Level != "ERROR" || !strings.Contains(l.Err, a.rules+":1: bannedCommandStrings[1]: empty string") {
		t.Errorf("%s", l.raw)
	}
	dies(t, exec.Command("/bin/echo", word))
	lives(t, exec.Command("/bin/echo", second), second+"\n")
	if v := a.metrics(t)["cryptnono_config_reload_success"]; v != 0 {
		t.Errorf("the metric says %v", v)
	}
	time.Sleep(2 * time.Second)
	if n := a.reloads("reload refused"); n != 1 {
		t.Errorf("told %d times", n)
	}

	write(t, a.rules, "bannedCommandStrings: ["+second+"]\n")
	eventually(t, "the reload", func() bool { return a.reloads("reloaded") == 1 })
	dies(t, exec.Command("/bin/echo", second))
	if v := a.metrics(t)["cryptnono_config_reload_success"]; v != 1 {
		t.Errorf("the metric says %v", v)
	}
}

func TestSettingsTakeEffectWithoutARestart(t *testing.T) {
	testutil.Privileged(t)
	word := newWord()
	rules := writeJSON(t, "rules.json", ruleFile{Strings: []string{word}})
	settings := filepath.Join(t.TempDir(), "settings.yaml")
	common := "rules: [" + rules + "]\nbuiltinRules: false\nscanInterval: 0\nlisten: 127.0.0.1:0\n"
	write(t, settings, common+"monero: {enabled: false}\n")
	a := start(t, ruleFile{}, "--config", settings)
	loaded := func() int { return len(programs(t, a.Process.Pid)) }
	before := loaded()
	dies(t, exec.Command("/bin/echo", word))
	for i, c := range []struct{ settings, name string }{
		{"action: observe\n", "observe, and the detector monero"},
		{"exemptions: {programs: [/bin/echo]}\nmonero: {enabled: false}\n", "an exemption"},
	} {
		write(t, settings, common+c.settings)
		eventually(t, "the reload", func() bool { return a.reloads("reloaded") == i+1 })
		lives(t, exec.Command("/bin/echo", word), word+"\n")
		if n := loaded(); (n > before) != (i == 0) {
			t.Errorf("%s: %d programs, %d before", c.name, n, before)
		}
	}
	write(t, settings, strings.Replace(common, "127.0.0.1:0", "127.0.0.1:1", 1))
	l := a.line(t, "of what cannot change", func(l line) bool { return strings.HasPrefix(l.Msg, "reload refused") })
	if l.Err != "listen: cannot change while the agent runs, start it anew" {
		t.Errorf("%s", l.raw)
	}
}

// Rules are replaced again and again while banned programs are started as fast as
// can be: each is in all of the rules, so each must die, and be counted once.
func TestThereIsNoMomentWithoutProtectionDuringAReload(t *testing.T) {
	word := newWord()
	a := start(t, ruleFile{Strings: []string{word}})
	stop := make(chan struct{})
	tally := make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				tally <- n
				return
			default:
			}
			cmd := exec.Command("/bin/echo", word)
			out, _ := cmd.CombinedOutput()
			if !killed(cmd) || len(out) > 0 {
				t.Errorf("start %d lived and printed %q", n, out)
			}
			n++
		}
	}()
	for i := range 10 {
		write(t, a.rules, `{"bannedCommandStrings": ["`+word+`", "`+newWord()+`"]}`)
		if err := a.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the reload", func() bool { return a.reloads("reloaded") > i })
	}
	close(stop)
	started := <-tally
	if n := a.metrics(t)[`processes_killed_total{source="exec"}`]; int(n) != started {
		t.Errorf("%d were started, %v were counted as killed", started, n)
	}
	t.Logf("%d were started", started)
}
