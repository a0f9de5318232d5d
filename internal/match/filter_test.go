package match

import (
	"math/rand/v2"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestTheFilterHasFewFalseAlarms(t *testing.T) {
	for _, n := range []int{3, 1000, 50_000} {
		f := compile(t, manyBans(n)).Filter
		rnd := rand.New(rand.NewPCG(1, 2))
		tries := testutil.Thorough(1_000_000)
		alarms := 0
		for range tries {
			// A window that the first symbol does not dismiss.
			window := rnd.Uint64()
			for !f.First[window>>56] {
				window = rnd.Uint64()
			}
			if f.has(window) {
				alarms++
			}
		}
		if alarms > tries/100 {
			t.Errorf("with %d bans %d windows of %d pass", n, alarms, tries)
		}
	}
}
