package attacks

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/test/agenttest"
)

// exemptions returns settings with which the kernel must know the class of a cgroup before it
// kills there.
func exemptions() map[string]any {
	return map[string]any{"exemptions": map[string]any{
		"cgroups":    []string{"/attacks-exempt"},
		"namespaces": []string{"kube-system"},
	}}
}

// delegated is a cgroup below which a user may create cgroups, as systemd delegates one.
const delegated = "/user.slice/user-65534.slice/user@65534.service/app.slice"

// cgroupRows are attempts to start in a cgroup that the agent does not know yet while exemptions
// exist.
func cgroupRows(t *testing.T, b *bed) []row {
	// in executes act in n new cgroups. The result is how many of those programs ran and whether
	// all are dead at the end.
	in := func(below string, n, depth int, what string, settings map[string]any) func(t *testing.T) (string, bool) {
		return func(t *testing.T) (string, bool) {
			word := agenttest.NewWord()
			all := exemptions()
			maps.Copy(all, settings)
			agenttest.Start(t, agenttest.Options{Rules: agenttest.Rules{Strings: []string{word}, Allowed: []string{executors}}, Settings: all})
			dir := agenttest.MakeCgroup(t, below)
			if err := os.Chown(dir, nobody, nobody); err != nil {
				t.Fatal(err)
			}
			cmd := acting(exec.Command(b.victim(t, "cgroups"), dir, fmt.Sprint(depth), fmt.Sprint(n), b.victim(t, "act", "-static"), word), what)
			var c crowd
			group := c.start(t, cmd)
			ended := agenttest.Within(agenttest.Patience(), func() bool { return strings.Contains(c.output(0), "killed ") })
			dead := group.Dead(soon())
			left := members(t, dir)
			group.Kill()
			ran := strings.Count(c.output(0), "ran\n")
			return fmt.Sprintf("%d of %d ran before they died, %d live on", ran, n, left), ended && dead && ran == 0 && left == 0
		}
	}
	return []row{
		{"t03a", "new cgroups of a user, and forks", "dead before their first instruction", in(delegated, times(300, 1500), 1, "fork", nil)},
		{"t03b", "new cgroups of a user", "dead before their first instruction", in(delegated, times(300, 3000), 1, "end", nil)},
		{"t03c", "new cgroups of a user, and forks, with scans every ten minutes", "dead before their first instruction", in(delegated, times(300, 3000), 1, "fork", map[string]any{"scanInterval": "10m"})},
		{"A64a", "a cgroup at 71 levels", "dead before their first instruction", in(delegated, times(10, 30), 71, "end", nil)},
		{"A64b", "a cgroup at 71 levels, and forks", "dead before their first instruction", in(delegated, times(10, 30), 71, "fork", nil)},
		{"t02d", "an exec in the first second of an agent, in a cgroup that is older", "dead before its first instruction", func(t *testing.T) (string, bool) {
			return firstSecond(t, b)
		}},
		{"t03e", "new cgroups of root's programs, of no runtime and no user, and forks", "dead before their first instruction", in("/attacks-own", times(300, 1500), 1, "fork", nil)},
		{"t03d", "a container runtime that does not answer, and banned programs in its pods", "those outside of pods are still killed", func(t *testing.T) (string, bool) {
			return silentRuntime(t, b)
		}},
	}
}

// members returns the number of processes in a cgroup and below it.
func members(t *testing.T, dir string) int {
	t.Helper()
	out, err := exec.Command("find", dir, "-name", "cgroup.procs", "-exec", "cat", "{}", "+").Output()
	if err != nil {
		t.Fatal(err)
	}
	return len(strings.Fields(string(out)))
}

// firstSecond starts agents, and banned programs during the first second after each is ready.
func firstSecond(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	agents, execs, ran := times(3, 20), 0, 0
	for i := range agents {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			word := agenttest.NewWord()
			next := agenttest.CopyFile(t, b.victim(t, "act", "-static"), b.folder(t)+"/next")
			cgroup := agenttest.MakeCgroup(t, "/attacks-first")
			f, err := os.Open(cgroup)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			agenttest.Start(t, agenttest.Options{Rules: agenttest.Rules{Strings: []string{word}}, Settings: exemptions()})
			for end := time.Now().Add(time.Second); time.Now().Before(end); execs++ {
				cmd := b.act(t, "exec", word)
				cmd.Env = append(cmd.Env, "NEXT="+next)
				cmd.SysProcAttr = intoCgroup(f)
				if seen, _ := dies(cmd); seen != "dead before its first instruction" {
					ran++
				}
			}
		})
	}
	return fmt.Sprintf("%d of %d ran, with %d agents", ran, execs, agents), ran == 0
}

// silentRuntime runs banned programs in pods whose runtime does not answer, and one outside. All
// are older than the agent, so that it must judge each in user space.
func silentRuntime(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	word := agenttest.NewWord()
	hold := make(chan struct{})
	defer close(hold)
	var pods, c crowd
	for i := range times(30, 200) {
		cmd := agenttest.InCgroup(t, agenttest.PodCgroup(fmt.Sprintf("%064x", i)), b.act(t, "stay", word))
		pods.start(t, cmd)
	}
	c.start(t, b.act(t, "stay", word))
	settings := exemptions()
	settings["scanInterval"] = "1s"
	settings["containers"] = map[string]any{"sockets": []string{startRuntime(t, nil, hold)}}
	agenttest.Start(t, agenttest.Options{Rules: agenttest.Rules{Strings: []string{word}}, Settings: settings, MayFail: true})
	older, dead := c.die(false)
	fate, ok := dies(exec.Command("/bin/echo", word))
	return fmt.Sprintf("older: %s; at its exec: %s", older, fate), dead && ok
}
