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
			// A window of symbols that the phrases have there.
			var window uint64
			for place := range maxPrefix {
				sym := byte(rnd.Uint32())
				for f.Places[sym]&(1<<place) == 0 {
					sym = byte(rnd.Uint32())
				}
				window = window<<8 | uint64(sym)
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
