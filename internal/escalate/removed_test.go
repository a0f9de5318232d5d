package escalate

import (
	"os/exec"
	"testing"

	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// Kernel programs may still use the exemptions before, but no step does.
func TestAnExemptionThatIsRemovedSparesNothing(t *testing.T) {
	testutil.Privileged(t)
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	id := newID()
	pod := "/kubepods/besteffort/pod8f3c1a52-7d16-4f0c-9f3b-0a1b2c3d4e5f/" + id
	for name, c := range map[string]struct {
		path       string
		exemptions exempt.Rules
		containers exempt.Containers
	}{
		"of a program":   {"/docker/" + id, exempt.Rules{Programs: []string{sleep}}, nil},
		"of a cgroup":    {"/docker/" + id, exempt.Rules{Cgroups: []string{"/docker/*"}}, nil},
		"of a namespace": {pod, exempt.Rules{Namespaces: []string{"hub"}}, runtime{Name: "user", Namespace: "hub", PodUID: "x"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := both
			s.Parent = rules.Off
			b := run(t, s, detectortest.Options{Exemptions: c.exemptions, Containers: c.containers})
			first := testutil.SleepIn(t, testutil.MakeCgroup(t, c.path))
			b.kills(t, containerKills, first)
			if l := b.line(t); l.Action != "spared" {
				t.Fatalf("with the exemption: %+v", l)
			}
			if err := b.env.Judge.Exempt.Apply(exempt.Rules{}); err != nil {
				t.Fatal(err)
			}
			b.kills(t, containerKills, first)
			if l := b.line(t); l.Action != "killed" {
				t.Fatalf("%+v", l)
			}
			died(t, first)
		})
	}
}
