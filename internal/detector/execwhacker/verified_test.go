//go:build !race

package execwhacker

import (
	"testing"

	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestTheVerifierIsFarFromItsLimit(t *testing.T) {
	testutil.Privileged(t)
	spec, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	actions := rules.DefaultActions()
	if err := actions.Switch("environment", "observe"); err != nil {
		t.Fatal(err)
	}
	m := mustCompile(t, actions.Rules())
	if err := newTables(m).size(spec); err != nil {
		t.Fatal(err)
	}
	use, err := selectDeferral(spec)
	if err != nil {
		t.Fatal(err)
	}
	if use != nil {
		spec.Programs["apply_or_defer"] = use // the same name for both variants
	}
	testutil.LogVerified(t, Name, spec)
}
