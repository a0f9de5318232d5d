//go:build !race

package execwhacker

import (
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// TestALongArgv0IsNotMatchedByAllowPatterns has a ban at the start of argv[0], so that the
// kernel skips the rest of it, and after that, at each offset, text that would match an allow
// pattern if it were an argument.
func TestALongArgv0IsNotMatchedByAllowPatterns(t *testing.T) {
	testutil.Privileged(t)
	const allowed = "-v2 /srv/ok "
	m := mustCompile(t, rules.Set{
		Bans:    []rules.Ban{{Text: "needle", Action: rules.Kill}},
		Allowed: []rules.Pattern{{Expr: `/x/p-v2 /srv/ok.*`}, {Expr: `/x/p fine`}},
	})
	k := newKernelMatcher(t, m)
	for shift := range len(allowed) {
		argv0 := "needle " + strings.Repeat("x", shift) + strings.Repeat(allowed, 4000)
		if o := k.same(t, m, "/x/p", []string{argv0, "x"}); o != match.Banned {
			t.Errorf("argv[0] shifted by %d: %v", shift, o)
		}
	}
	for _, size := range []int{0, 4080, 4090, 16370, 16377, 16378, 100_000} {
		argv0 := "needle" + strings.Repeat("x", size)
		if o := k.same(t, m, "/x/p", []string{" needle " + argv0, "fine"}); o != match.Allowed {
			t.Errorf("an allowed argument after argv[0] of %d bytes: %v", len(argv0), o)
		}
	}
}
