package exempt

import (
	"os/exec"
	"testing"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestRootOnTheNodeIsExemptIfTheSettingsSaySo(t *testing.T) {
	g := mustLoad(t, Rules{NodeRoot: true}, nil)
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]process.Event)
	for _, c := range testutil.RootCases(t) {
		cmd := c.Start(t, sleep, "600")
		executed(t, cmd)
		p, err := g.Locate(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		found[c.Name] = p
		if got, name := g.NodeRoot(p), g.Name(p, ""); got != c.Node || (name == NodeRootExemption) != c.Node {
			t.Errorf("%s: exempt is %v, the exemption of the kernel is %q", c.Name, got, name)
		}
		if by, err := g.Find(t.Context(), p, ""); err != nil || by != "" {
			t.Errorf("%s: exempt from every ban by %q, %v", c.Name, by, err)
		}
	}
	if err := g.Apply(Rules{}); err != nil {
		t.Fatal(err)
	}
	for name, p := range found {
		if g.NodeRoot(p) {
			t.Errorf("%s: exempt without the setting", name)
		}
	}
}
