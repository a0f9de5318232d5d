package acceptance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// waitForClass waits until the agent has stored the class of a cgroup for the kernel. The agent
// classifies a cgroup when it is created, but a test does not wait as a container runtime does.
func waitForClass(t *testing.T, a *agenttest.Agent, path string) {
	t.Helper()
	info, err := os.Stat(agenttest.CgroupRoot() + path)
	if err != nil {
		t.Fatal(err)
	}
	key := [2]uint64{info.Sys().(*syscall.Stat_t).Ino}
	agenttest.Eventually(t, path+" in the kernel's map", func() bool {
		for _, id := range held[ebpf.MapID](t, a.Process.Pid, "map_id") {
			m, err := ebpf.NewMapFromID(id)
			if err != nil {
				continue // closed meanwhile
			}
			info, err := m.Info()
			var class uint32
			found := err == nil && info.Name == "cgroup_classes" && m.Lookup(key, &class) == nil
			m.Close()
			if found {
				return true
			}
		}
		return false
	})
}

func TestACgroupIsExemptWithAllBelowIt(t *testing.T) {
	word := agenttest.NewWord()
	a := startWith(t, agenttest.Rules{Strings: []string{word}}, map[string]any{
		"exemptions": map[string]any{"cgroups": []string{"/cryptnono-exempt*"}},
	})
	for path, marked := range map[string]string{
		"/cryptnono-exempt":                  "/cryptnono-exempt",
		"/cryptnono-exempt1/below/and/below": "/cryptnono-exempt1",
	} {
		cmd := agenttest.InCgroup(t, path, exec.Command("/bin/echo", word))
		waitForClass(t, a, marked)
		lives(t, cmd, word+"\n")
		if l := a.Verdict(t, "spared", cmd.Process.Pid); l.Allowed != "cgroup /cryptnono-exempt*" || l.Cgroup != path {
			t.Errorf("%s", l.Raw)
		}
	}
	other := agenttest.InCgroup(t, "/cryptnono-other/cryptnono-exempt", exec.Command("/bin/echo", word))
	waitForClass(t, a, "/cryptnono-other/cryptnono-exempt")
	dies(t, other)
	dies(t, exec.Command("/bin/echo", word))
	m := a.Metrics(t)
	if m[`processes_exempt_total{source="exec"}`] != 2 || m[`processes_killed_total{source="exec"}`] != 2 {
		t.Errorf("counted %v exempt, %v killed", m[`processes_exempt_total{source="exec"}`], m[`processes_killed_total{source="exec"}`])
	}
}

func TestAProgramIsExemptByItsFileOrByItsPathOnTheHost(t *testing.T) {
	word := agenttest.NewWord()
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n/bin/echo ran\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	a := startWith(t, agenttest.Rules{Strings: []string{word}}, map[string]any{
		"exemptions": map[string]any{"programs": []string{"/bin/echo", script}},
	})
	cmd := exec.Command("/bin/echo", word)
	lives(t, cmd, word+"\n")
	if l := a.Verdict(t, "spared", cmd.Process.Pid); l.Allowed != "program /bin/echo" {
		t.Errorf("%s", l.Raw)
	}
	dies(t, exec.Command("/bin/cat", word))
	lives(t, exec.Command("/../bin/echo", word), word+"\n") // the same file
	other := filepath.Join(t.TempDir(), "echo")
	text, err := os.ReadFile("/bin/cat")
	if err == nil {
		err = os.WriteFile(other, text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	// In another mount namespace, and in another root directory: any user can have both in a
	// user namespace.
	mounted := exec.Command("unshare", "--mount", "sh", "-c", "mount --bind "+other+" /bin/echo && exec /bin/echo $WORD")
	mounted.Env = append(os.Environ(), "WORD="+word)
	dies(t, mounted)
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	static := testutil.BuildC(t, "test/victims/hello.c", "-static")
	if err := os.Rename(static, filepath.Join(root, "bin/echo")); err != nil {
		t.Fatal(err)
	}
	chrooted := exec.Command("/bin/echo", word)
	chrooted.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	dies(t, chrooted)
	// Of a script only the path counts. In a user namespace a root directory can be changed between the look-up
	// of the path and the verdict.
	lives(t, exec.Command(script, word), "ran\n")
	inNamespace := exec.Command("unshare", "--user", "sh", "-c", "exec "+script+" $WORD")
	inNamespace.Env = append(os.Environ(), "WORD="+word)
	dies(t, inNamespace)
}

// No runtime knows the pod, so the agent cannot determine whether it is exempt.
func TestUnknownPodsAreNotKilledWhileNamespacesAreExempt(t *testing.T) {
	word := agenttest.NewWord()
	a := startWith(t, agenttest.Rules{Strings: []string{word}}, map[string]any{
		"exemptions": map[string]any{"namespaces": []string{"kube-system"}},
	})
	unknown := startSleeper(t, agenttest.InCgroup(t, agenttest.PodCgroup("a"), exec.Command("/bin/sh", "-c", "read -r line", "sh", word)))
	agenttest.Eventually(t, "the lookup of the container", func() bool { return a.Metrics(t)[`container_verdicts_total{result="timeout"}`] == 1 })
	unknown.isAlive()
	dies(t, exec.Command("/bin/echo", word)) // not in a container

	// A container outside of pods has no namespace.
	path := "/docker/" + strings.Repeat("b", 64)
	contained := agenttest.InCgroup(t, path, exec.Command("/bin/echo", word))
	waitForClass(t, a, path)
	dies(t, contained)
	// The kernel first waits for the agent, where it can, and then leaves the process to it.
	if n := a.Metrics(t)[`container_verdicts_total{result="timeout"}`]; n != 1 {
		t.Errorf("one process in an unknown pod is counted %v times", n)
	}
	a.Stop()

	b := startWith(t, agenttest.Rules{Strings: []string{word}}, nil)
	cmd := agenttest.InCgroup(t, agenttest.PodCgroup("a"), exec.Command("/bin/echo", word))
	dies(t, cmd)
	b.Verdict(t, "killed", cmd.Process.Pid)
}

// Processes in a container can create and name cgroups below that of the container.
func TestACgroupBelowAContainerIsNotExempt(t *testing.T) {
	word := agenttest.NewWord()
	a := startWith(t, agenttest.Rules{Strings: []string{word}}, map[string]any{
		"exemptions": map[string]any{"cgroups": []string{"/cryptnono-exempt", "/*/*/cryptnono-exempt", "/docker/*/*-exempt"}},
	})
	path := "/docker/" + strings.Repeat("c", 64)
	cmd := agenttest.InCgroup(t, path+"/cryptnono-exempt", exec.Command("/bin/echo", word))
	waitForClass(t, a, path)
	dies(t, cmd)
}

func TestKillsBeyondTheLimitAreSuppressed(t *testing.T) {
	t.Parallel()
	word := agenttest.NewWord()
	a := startWith(t, agenttest.Rules{Strings: []string{word}}, map[string]any{"killLimit": map[string]any{"perMinute": 3}})
	for range 3 {
		dies(t, exec.Command("/bin/echo", word))
	}
	limited := exec.Command("/bin/echo", word)
	lives(t, limited, word+"\n")
	if l := a.Verdict(t, "observed", limited.Process.Pid); !strings.Contains(l.Raw, `"limited":true`) {
		t.Errorf("%s", l.Raw)
	}
	a.Line(t, "that the kill limit is reached", func(l agenttest.Line) bool { return l.Msg == "kill limit reached" && l.Level == "WARN" })
	m := a.Metrics(t)
	if m[`cryptnono_kill_limit_reached{scope="node"}`] != 1 || m[`processes_limited_total{source="exec"}`] != 1 || m[`processes_killed_total{source="exec"}`] != 3 {
		t.Errorf("metrics %v", m)
	}

	if err := a.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	a.Line(t, "that the kill limit is reset", func(l agenttest.Line) bool { return l.Msg == "kill limit reset" })
	dies(t, exec.Command("/bin/echo", word))
}

func TestTheKillLimitOfAContainerDoesNotAffectOthers(t *testing.T) {
	word := agenttest.NewWord()
	a := startWith(t, agenttest.Rules{Strings: []string{word}}, map[string]any{"killLimit": map[string]any{"perContainer": 1}})
	one, two := "/docker/"+strings.Repeat("d", 64), "/docker/"+strings.Repeat("e", 64)
	first, third := agenttest.InCgroup(t, one, exec.Command("/bin/echo", word)), agenttest.InCgroup(t, two, exec.Command("/bin/echo", word))
	waitForClass(t, a, one)
	waitForClass(t, a, two)
	dies(t, first)
	lives(t, agenttest.InCgroup(t, one+"/below", exec.Command("/bin/echo", word)), word+"\n")
	dies(t, third)
	if n := a.Metrics(t)[`cryptnono_kill_limit_reached{scope="container"}`]; n != 1 {
		t.Errorf("%v containers' limits are reached", n)
	}
}

func TestARuleThatHitsManyTenantsIsStopped(t *testing.T) {
	wrong, right := agenttest.NewWord(), agenttest.NewWord()
	a := startWith(t, agenttest.Rules{Strings: []string{wrong, right}}, nil)
	tenant := func(n int, word string) *exec.Cmd {
		path := fmt.Sprintf("/docker/%064x", 0xabc000+n)
		cmd := agenttest.InCgroup(t, path, exec.Command("/bin/echo", word))
		waitForClass(t, a, path)
		return cmd
	}
	killed := 0
	for n := range 20 {
		cmd := tenant(n, wrong)
		if err := cmd.Run(); err == nil {
			continue
		} else if !agenttest.Killed(cmd) {
			t.Fatal(err)
		}
		if killed++; killed == 1 {
			for range 100 { // a container counts once
				dies(t, tenant(n, wrong))
			}
		}
	}
	if killed < 10 || killed > 15 { // two may share a slot
		t.Errorf("%d of 20 were killed", killed)
	}
	lives(t, tenant(0, wrong), wrong+"\n")
	dies(t, tenant(0, right))
	a.Line(t, "that the rule is stopped", func(l agenttest.Line) bool {
		return l.Msg == "kill limit stopped a rule" && l.Level == "ERROR" && strings.Contains(l.Raw, "bannedCommandStrings[0]")
	})
	if n := a.Metrics(t)[`cryptnono_kill_limit_reached{scope="rule"}`]; n != 1 {
		t.Errorf("%v rules are stopped", n)
	}
	if status, body := get(t, a, "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "bannedCommandStrings[0]") {
		t.Errorf("%d %s", status, body)
	}
	if err := a.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	a.Line(t, "that the rule kills again", func(l agenttest.Line) bool { return l.Msg == "a stopped rule kills again" })
	dies(t, tenant(0, wrong))
}

// The scan kills from user space, with the same kill limit and exemptions as the kernel program.
func TestTheScanAppliesKillLimitAndExemptions(t *testing.T) {
	testutil.Privileged(t)
	word := agenttest.NewWord()
	sleeper := func() *exec.Cmd { return exec.Command("/bin/sh", "-c", "read -r line", "sh", word) }
	exempt := startSleeper(t, agenttest.InCgroup(t, "/cryptnono-exempt", sleeper()))
	one, two := startSleeper(t, sleeper()), startSleeper(t, sleeper())
	a := startWith(t, agenttest.Rules{Strings: []string{word}}, map[string]any{
		"scanInterval": "1s",
		"exemptions":   map[string]any{"cgroups": []string{"/cryptnono-exempt"}},
		"killLimit":    map[string]any{"perMinute": 1},
	})
	a.Verdict(t, "spared", exempt.Process.Pid)
	first := a.Line(t, "of a kill", func(l agenttest.Line) bool { return l.Action == "killed" })
	second := a.Line(t, "of a suppressed kill", func(l agenttest.Line) bool { return l.Action == "observed" })
	if pids := [2]int{first.PID, second.PID}; pids != [2]int{one.Process.Pid, two.Process.Pid} && pids != [2]int{two.Process.Pid, one.Process.Pid} {
		t.Errorf("of %d and %d: %s\n%s", one.Process.Pid, two.Process.Pid, first.Raw, second.Raw)
	}
	exempt.isAlive()
}

func TestChosenVariablesOfTheEnvironmentAreLogged(t *testing.T) {
	word := agenttest.NewWord()
	a := startWith(t, agenttest.Rules{Strings: []string{word}}, map[string]any{"logEnv": []string{"BINDER_REF_URL", "NOT_THERE", "LATE"}})
	env := []string{"SECRET=hidden", "BINDER_REF_URL=https://example.org/\x1b[31m", "FILL=" + strings.Repeat("x", 16384), "LATE=beyond what is kept"}
	killed := exec.Command("/bin/echo", word)
	killed.Env = env
	dies(t, killed)
	l := a.Verdict(t, "killed", killed.Process.Pid)
	var got struct{ Env map[string]string }
	if err := json.Unmarshal([]byte(l.Raw), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Env) != 1 || got.Env["BINDER_REF_URL"] != `https://example.org/\x1b[31m` || strings.Contains(l.Raw, "hidden") {
		t.Errorf("%s", l.Raw)
	}
	a.Stop()

	b := startWith(t, agenttest.Rules{Strings: []string{word}}, nil)
	again := exec.Command("/bin/echo", word)
	again.Env = env
	dies(t, again)
	if l := b.Verdict(t, "killed", again.Process.Pid); strings.Contains(l.Raw, "BINDER_REF_URL") {
		t.Errorf("logged although it is not configured: %s", l.Raw)
	}
}
