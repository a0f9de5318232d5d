package execwhacker

import (
	"log/slog"
	"os/exec"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/guard"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// A process that an allow pattern matches is spared without a query to the runtime.
func TestNoRuntimeIsAskedForWhatAPatternAllows(t *testing.T) {
	testutil.Privileged(t)
	log := slog.New(slog.DiscardHandler)
	runtime := new(lateRuntime)
	g, err := guard.Load(guard.Options{
		Containers: runtime, Log: log,
		Policy: guard.Policy{Exemptions: guard.Exemptions{Namespaces: []string{"kube-system"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	before := runtime.asked.Load()
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
	who, err := process.Look(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	s := suspect{Event: process.Event{Who: who, Cgroup: new(cgroup.Parser).New(0, 3, []cgroup.Level{
		{ID: 1, Name: "kubepods"}, {ID: 2, Name: "pod0f34b8b1-91a4-4f40-8a2e-2d0e2a1e6d50"}, {ID: 3, Name: strings.Repeat("a", 64)},
	})}}
	if !s.Cgroup.Container.Contained() {
		t.Fatal("its cgroup is no container's")
	}
	j := judge{guard: g, report: report.New(log, "", nil), log: log}
	l := look{
		Verdict: match.Verdict{Outcome: match.Allowed, Ban: &rules.Ban{}, Allow: &rules.Pattern{}},
		paths:   []string{"/bin/true"},
	}
	if done := j.act(t.Context(), s, l, &Policy{}, sourceScan, new(tally)); done != report.Spared {
		t.Errorf("%v", done)
	}
	if n := runtime.asked.Load() - before; n != 0 {
		t.Errorf("a runtime was asked %d times", n)
	}
	l.Outcome = match.Banned
	if done := j.act(t.Context(), s, l, &Policy{}, sourceScan, new(tally)); done != unknown || runtime.asked.Load() == before {
		t.Errorf("of a banned one: %v", done)
	}
}
