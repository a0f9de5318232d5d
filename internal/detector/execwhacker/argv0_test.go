package execwhacker

import (
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// TestALongArgv0SparesNobody has a ban at the beginning of argv[0], so that nothing
// of it need be matched from there on, and at each place what would spare the process
// if it were an argument.
func TestALongArgv0SparesNobody(t *testing.T) {
	testutil.Privileged(t)
	const spares = "-v2 /srv/ok "
	m := mustCompile(t, rules.Set{
		Bans:    []rules.Ban{{Text: "needle", Action: rules.Kill}},
		Allowed: []rules.Pattern{{Expr: `/x/p-v2 /srv/ok.*`}, {Expr: `/x/p fine`}},
	})
	k := newKernelMatcher(t, m)
	for shift := range len(spares) {
		argv0 := "needle " + strings.Repeat("x", shift) + strings.Repeat(spares, 4000)
		if o := k.same(t, m, "/x/p", []string{argv0, "x"}); o != match.Banned {
			t.Errorf("argv[0] shifted by %d: %v", shift, o)
		}
	}
	for _, size := range []int{0, 4080, 4090, 16370, 16377, 16378, 100_000} {
		argv0 := "needle" + strings.Repeat("x", size)
		if o := k.same(t, m, "/x/p", []string{" needle " + argv0, "fine"}); o != match.Allowed {
			t.Errorf("what follows argv[0] of %d bytes: %v", len(argv0), o)
		}
	}
}
