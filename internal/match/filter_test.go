package match

import (
	"math/rand/v2"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestTheFilterHasFewFalsePositives(t *testing.T) {
	for _, n := range []int{3, 1000, 50_000} {
		f := compile(t, manyBans(n)).Filter
		rnd := rand.New(rand.NewPCG(1, 2))
		tries := testutil.Thorough(1_000_000)
		passed := 0
		for range tries {
			// A window that only the Bloom filter can reject.
			var window uint64
			for i := range maxPrefix {
				sym := byte(rnd.Uint32())
				for f.Positions[sym]&(1<<i) == 0 {
					sym = byte(rnd.Uint32())
				}
				window = window<<8 | uint64(sym)
			}
			if f.mayContain(window) {
				passed++
			}
		}
		if passed > tries/100 {
			t.Errorf("with %d bans %d windows of %d pass", n, passed, tries)
		}
	}
}
