package attacks

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cryptnono/cryptnono/test/agenttest"
)

// reloadRows start banned and exempt programs as fast as possible while rules, settings and
// exemptions are replaced repeatedly.
func reloadRows(_ *testing.T, b *bed) []row {
	return []row{
		{"D07a", "reloads in a storm of banned programs, with nothing exempt", "none runs to its end", func(t *testing.T) (string, bool) {
			return reloads(t, b, false)
		}},
		{"D07b,F4", "the same, with exemptions by namespace, label, cgroup and program, in known, new, user-created and deep cgroups, from the first second of an agent", "no banned one runs to its end, no exempt one dies", func(t *testing.T) (string, bool) {
			return reloads(t, b, true)
		}},
	}
}

// A storm counts the results of programs that workers start.
type storm struct {
	stop atomic.Bool

	mu                        sync.Mutex
	banned, ran, exempt, died int
	wrong                     map[string]int // number of failures by kind
}

// ban runs a program that must be killed.
func (s *storm) ban(what string, cmd *exec.Cmd) {
	seen, _ := dies(cmd)
	s.count(&s.banned, &s.ran, seen == "dead before its first instruction", what)
}

// spare runs a program that must live.
func (s *storm) spare(what string, cmd *exec.Cmd) {
	_, ok := lives(cmd)
	s.count(&s.exempt, &s.died, ok, what)
}

func (s *storm) count(all, bad *int, ok bool, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*all++
	if !ok {
		*bad++
		s.wrong[what]++
	}
}

func (s *storm) started() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.banned
}

// result returns the totals. All workers must have ended.
func (s *storm) result() (seen string, ok bool) {
	seen = fmt.Sprintf("%d of %d banned ran, %d of %d exempt died", s.ran, s.banned, s.died, s.exempt)
	for _, what := range slices.Sorted(maps.Keys(s.wrong)) {
		seen += fmt.Sprintf(", %d %s", s.wrong[what], what)
	}
	return seen, s.ran == 0 && s.died == 0
}

// reloads reloads an agent repeatedly while four workers run a storm.
func reloads(t *testing.T, b *bed, exempting bool) (seen string, ok bool) {
	t.Helper()
	const inNamespace, byLabel, other = "a", "b", "c" // ids, repeated
	socket := startRuntime(t, map[string]podNames{
		strings.Repeat(inNamespace, 64): {namespace: "attacks-exempt"},
		strings.Repeat(byLabel, 64):     {namespace: "default", label: "attacks=exempt"},
		strings.Repeat(other, 64):       {namespace: "default"},
	}, nil)
	word := agenttest.NewWord()
	hello := b.victim(t, "hello", "-static")
	trusted := agenttest.CopyFile(t, hello, filepath.Join(b.folder(t), "trusted"))

	deep := delegated + "/deep" + strings.Repeat("/d", 66)
	dirs := make(map[string]*os.File)
	for _, path := range []string{
		agenttest.PodCgroup(inNamespace), agenttest.PodCgroup(byLabel), agenttest.PodCgroup(other),
		"/attacks-exempt/below", "/attacks-known", "/attacks-new", delegated, deep,
	} {
		f, err := os.Open(agenttest.MakeCgroup(t, path))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		dirs[path] = f
	}
	settings := func(round int) map[string]any {
		all := map[string]any{
			"containers": map[string]any{"sockets": []string{socket}},
			"killLimit":  map[string]any{"perMinute": 900_000 + round%2},
		}
		if exempting {
			all["exemptions"] = map[string]any{
				"namespaces": []string{"attacks-exempt", fmt.Sprint("other", round/3)},
				"podLabels":  []string{"attacks=exempt"},
				"cgroups":    []string{"/attacks-exempt", fmt.Sprint("/attacks-nowhere", round/3)},
				"programs":   []string{trusted},
			}
		}
		return all
	}
	a := agenttest.Start(t, agenttest.Options{Rules: agenttest.Rules{Strings: []string{word}}, Settings: settings(0)})

	s := storm{wrong: make(map[string]int)}
	var workers sync.WaitGroup
	work := func(step func(i int)) {
		workers.Go(func() {
			for i := 0; !s.stop.Load(); i++ {
				step(i)
			}
		})
	}
	in := func(path string, program string) *exec.Cmd {
		cmd := exec.Command(program, word)
		cmd.SysProcAttr = intoCgroup(dirs[path])
		return cmd
	}
	inNew := func(what, below string, i int) {
		dir := fmt.Sprintf("%s/new%d", dirs[below].Name(), i)
		if os.Mkdir(dir, 0o755) != nil {
			return // the last process in it has not ended yet
		}
		defer func() { _ = syscall.Rmdir(dir) }()
		f, err := os.Open(dir)
		if err != nil {
			return
		}
		defer f.Close()
		cmd := exec.Command(hello, word)
		cmd.SysProcAttr = intoCgroup(f)
		s.ban(what, cmd)
	}
	work(func(int) { s.ban("in a known cgroup", in("/attacks-known", hello)) })
	work(func(i int) {
		inNew("in a cgroup of a user", delegated, i%1000)
		inNew("in a new cgroup of root", "/attacks-new", i%1000)
	})
	work(func(i int) {
		inNew("in a new deep cgroup", deep, i%1000)
		s.ban("in a deep cgroup", in(deep, hello))
	})
	work(func(int) {
		s.ban("in a pod", in(agenttest.PodCgroup(other), hello))
		if exempting {
			s.spare("by namespace", in(agenttest.PodCgroup(inNamespace), hello))
			s.spare("by label", in(agenttest.PodCgroup(byLabel), hello))
			s.spare("by cgroup", in("/attacks-exempt/below", hello))
			s.spare("by program", exec.Command(trusted, word))
		}
	})
	for round, n := 1, times(5, 50); round <= n || soak() && s.started() < 20_000; round++ {
		a.Set(t, settings(round))
		writeRules(t, a, agenttest.Rules{Strings: []string{word, fmt.Sprintf("%s-%d", word, round)}})
		a.Reload(t)
	}
	s.stop.Store(true)
	workers.Wait()
	return s.result()
}

// writeRules replaces the agent's rule file.
func writeRules(t *testing.T, a *agenttest.Agent, rules agenttest.Rules) {
	t.Helper()
	text, err := json.Marshal(rules)
	if err == nil {
		err = os.WriteFile(a.Rules, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
