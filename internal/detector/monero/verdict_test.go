package monero

import (
	"testing"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// A process that executes another program after its samples is not killed for the one before.
func TestAProgramThatIsExecutedMeanwhileLives(t *testing.T) {
	testutil.Privileged(t)
	e := detectortest.Env(t, detectortest.Options{})
	v := newVerdicts(e, newMetrics(nil))
	p := &policy{detector.Policy{Matcher: new(match.Matcher)}, Defaults()}
	detectortest.ExecutedMeanwhile(t, e, func(x process.Execution) error {
		return v.decide(t.Context(), job{key: x, state: new(verdictState), policy: p, decision: rounding.Decision{Rule: rounding.JIT}}, true)
	})
}
