package bytedfa

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// TestRandomExpressions checks each transition of the DFAs of random expressions that are
// composed of difficult parts.
func TestRandomExpressions(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	compared, tries := 0, testutil.Thorough(2000)
	for range tries {
		expr := randomExpr(r, 4)
		d, err := oneDFA([]string{expr}, 100)
		if errors.Is(err, ErrTooLarge) {
			continue
		}
		if err != nil {
			t.Fatalf("%q: %v", expr, err)
		}
		checkTransitions(t, d, oracle(t, expr))
		compared++
	}
	if compared < tries/2 {
		t.Errorf("only %d expressions are compared", compared)
	}
}

func randomExpr(r *rand.Rand, depth int) string {
	if depth == 0 || r.IntN(4) == 0 {
		atoms := []string{
			`a`, `k`, `_`, `-`, `\n`, `.`, `(?s:.)`, `é`, `€`, `\x{FFFD}`, `\x{10FFFF}`, `\x{212A}`, `(?-i:K)`, ``,
			`[a-k]`, `[^a]`, `[^\x{FFFD}]`, `[\x{7F}-\x{81}]`, `[\x{7C0}-\x{83F}]`, `[\x{D700}-\x{E0FF}]`, `[\x{FFC0}-\x{1003F}]`,
			`\w`, `\W`, `\s`, `\d`, `\b`, `\b`, `\B`, `^`, `$`, `(?m:^)`, `(?m:$)`, `\A`, `\z`,
		}
		return atoms[r.IntN(len(atoms))]
	}
	sub := func() string { return randomExpr(r, depth-1) }
	switch r.IntN(8) {
	case 0:
		repeats := []string{`*`, `+`, `?`, `{2}`, `{0,2}`, `{1,3}`, `*?`, `??`}
		return `(?:` + sub() + `)` + repeats[r.IntN(len(repeats))]
	case 1, 2:
		return `(?:` + sub() + `|` + sub() + `)`
	case 3:
		return `.*` + sub()
	default:
		return sub() + sub()
	}
}
