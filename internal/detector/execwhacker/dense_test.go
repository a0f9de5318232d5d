//go:build !race

package execwhacker

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// TestTextsOfBanPrefixesAreMatchedToTheEnd repeats prefixes of bans, which make the matcher
// enter the automaton again and again, before a ban.
func TestTextsOfBanPrefixesAreMatchedToTheEnd(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	const longest, textBytes, areaBytes = 16, 32 << 10, 6 << 20
	set := rules.Builtin()
	m := mustCompile(t, set)
	k := newKernelMatcher(t, m)
	rnd := rand.New(rand.NewPCG(7, 8))
	prefix := func(i, n int) string { return set.Bans[i].Text[:min(n, len(set.Bans[i].Text))] }

	every := max(20/testutil.Rounds(t, 20), 1) // of the bans, on a slow machine
	for i := 0; i < len(set.Bans); i += every {
		for n := 1; n <= min(longest, len(set.Bans[i].Text)-1); n++ {
			for _, space := range []string{"", " "} {
				word := prefix(i, n) + space
				k.same(t, m, "/bin/true", []string{"true", strings.Repeat(word, textBytes/len(word))})
			}
		}
	}
	for _, area := range []func(*strings.Builder){
		func(b *strings.Builder) { b.WriteString("stratum+") },
		func(b *strings.Builder) { b.WriteString("--donate- ") },
		func(b *strings.Builder) { b.WriteString(prefix(rnd.IntN(len(set.Bans)), 8)) },
		func(b *strings.Builder) {
			b.WriteString(prefix(rnd.IntN(len(set.Bans)), 1+rnd.IntN(longest)))
			b.WriteString([]string{"", " ", "\xff"}[rnd.IntN(3)])
		},
	} {
		var b strings.Builder
		for b.Len() < areaBytes-100 {
			area(&b)
		}
		argv := []string{"true", b.String(), "stratum+tcp://pool"}
		if o := k.same(t, m, "/bin/true", argv); o != match.Banned {
			t.Errorf("a ban after %.20q...: %v", argv[1], o)
		}
	}
}
