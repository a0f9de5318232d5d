package execwhacker

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

func TestAnAllowPatternAppliesWithoutAQueryToTheRuntime(t *testing.T) {
	runtime := new(lateRuntime)
	env := detectortest.Env(t, detectortest.Options{
		Containers: runtime, Exemptions: exempt.Rules{Namespaces: []string{"kube-system"}},
	})
	before := runtime.queries.Load()
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
	who, err := process.Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	s := suspect{Event: process.Event{Who: who, Cgroup: new(cgroup.Parser).New(0, 3, []cgroup.Level{
		{ID: 1, Name: "kubepods"}, {ID: 2, Name: "pod0f34b8b1-91a4-4f40-8a2e-2d0e2a1e6d50"}, {ID: 3, Name: strings.Repeat("a", 64)},
	})}}
	if !s.Cgroup.Container.Contained() {
		t.Fatal("its cgroup is not that of a container")
	}
	j := judge{Judge: env.Judge}
	l := judgement{
		Verdict: match.Verdict{Outcome: match.Allowed, Ban: &rules.Ban{}, Allow: &rules.Pattern{}},
		paths:   []string{"/bin/true"},
	}
	if action, err := j.carryOut(t.Context(), s, l, &detector.Policy{}, sourceScan, new(tally)); action != verdict.Allowed {
		t.Errorf("%v, %v", action, err)
	}
	if n := runtime.queries.Load() - before; n != 0 {
		t.Errorf("the runtime got %d queries", n)
	}
	l.Outcome = match.Banned
	if action, err := j.carryOut(t.Context(), s, l, &detector.Policy{}, sourceScan, new(tally)); err == nil || runtime.queries.Load() == before {
		t.Errorf("a banned process: %v", action)
	}
}
