package rounding

import (
	"log/slog"
	"math"
	"time"
)

// A Rule is the rule that a Decision is based on, in the order of the strength of evidence.
type Rule uint8

const (
	None    Rule = iota // no rule matches
	Pattern             // rule P: suspicion
	JIT                 // rule J: justifies a kill
)

// String returns "none", "pattern" or "jit".
func (r Rule) String() string {
	switch r {
	case Pattern:
		return "pattern"
	case JIT:
		return "jit"
	}
	return "none"
}

// A Decision is the result for the samples of a window, with the evidence. Shares are from 0
// to 1, and 0 if there is nothing to count.
type Decision struct {
	Rule Rule
	// Thread is the key of the thread if only its samples count, 0 if those of all threads
	// do.
	Thread uint64
	// Window is the wall time from the first sample to the last.
	Window time.Duration

	Samples int
	Modes   [4]float64 // shares of the samples in each mode
	Known   int        // directed samples whose code is known
	JIT     float64    // share of these in JITCode

	Pairs           int     // used by rule P
	UniformChi2     float64 // χ²(2) of the hypothesis that the directed modes are equally frequent
	IndependentChi2 float64 // χ²(9) of the hypothesis that the modes of a pair are independent
	RepeatShare     float64 // share of equal modes in pairs less than pairSpacing apart
}

// LogValue implements slog.LogValuer.
func (d Decision) LogValue() slog.Value {
	round := func(x float64) float64 { return math.Round(x*1000) / 1000 }
	modes := make([]float64, len(d.Modes))
	for i, share := range d.Modes {
		modes[i] = round(share)
	}
	return slog.GroupValue(
		slog.String("rule", d.Rule.String()),
		slog.Uint64("thread", d.Thread),
		slog.Duration("window", d.Window),
		slog.Int("samples", d.Samples),
		slog.Any("modes", modes),
		slog.Int("known", d.Known),
		slog.Float64("jit", round(d.JIT)),
		slog.Int("pairs", d.Pairs),
		slog.Float64("uniform_chi2", round(d.UniformChi2)),
		slog.Float64("independent_chi2", round(d.IndependentChi2)),
		slog.Float64("repeat_share", round(d.RepeatShare)),
	)
}
