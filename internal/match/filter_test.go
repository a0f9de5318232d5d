package match

import (
	"math/rand/v2"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestTheFilterHasFewFalsePositives(t *testing.T) {
	for _, n := range []int{3, 1000, testutil.Thorough(50_000)} {
		f := compile(t, manyBans(n)).Filter
		rnd := rand.New(rand.NewPCG(1, 2))
		tries := testutil.Thorough(1_000_000)
		passed := 0
		for range tries {
			// The Bloom filter alone: with many bans each pair is somewhere.
			word, bits := f.bits(rnd.Uint64() << f.Drop)
			if f.Words[word]&bits == bits {
				passed++
			}
		}
		if passed > tries/100 {
			t.Errorf("with %d bans %d windows of %d pass", n, passed, tries)
		}
	}
}
