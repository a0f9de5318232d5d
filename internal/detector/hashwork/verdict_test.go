package hashwork

import (
	"testing"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

func TestWhichFindingsAreActedOn(t *testing.T) {
	likely := func(r rule) finding { return finding{rule: r, likely: verdict.MayCompute} }
	for _, c := range []struct {
		name       string
		f          finding
		before     finding
		kills      bool
		act, again bool
	}{
		{"the first", likely(unmaskedRule), finding{}, true, true, false},
		{"a stronger one", likely(scratchpadRule), likely(unmaskedRule), true, true, false},
		{"the same", likely(unmaskedRule), likely(unmaskedRule), true, true, true},
		{"a weaker one", likely(memoryHardRule), likely(scratchpadRule), true, true, true},
		{"the same, observed", likely(unmaskedRule), likely(unmaskedRule), false, false, false},
		{"the same, certain", finding{rule: scratchpadRule}, finding{rule: scratchpadRule}, true, false, false},
		{"none", finding{}, likely(unmaskedRule), true, false, false},
	} {
		if act, again := c.f.acts(c.before.strength(), c.kills); act != c.act || again != c.again {
			t.Errorf("%s: %v, again %v", c.name, act, again)
		}
	}
}

// A process that executes another program after the search is not killed for the one before.
func TestAProgramThatIsExecutedMeanwhileLives(t *testing.T) {
	testutil.Privileged(t)
	e := detectortest.Env(t, detectortest.Options{})
	v := newVerdicts(e, newMetrics(nil), nil)
	detectortest.ExecutedMeanwhile(t, e, func(x process.Execution) error {
		t.Helper()
		h, err := x.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		p := &policy{detector.Policy{Matcher: new(match.Matcher)}, Defaults()}
		return v.decide(t.Context(), h, job{key: x, state: new(state), policy: p}, finding{rule: scratchpadRule}, false)
	})
}
