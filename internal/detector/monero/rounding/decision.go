package rounding

import (
	"log/slog"
	"math"
	"time"
)

// A Rule is what a Decision rests on; the later, the graver.
type Rule uint8

const (
	// None: the samples show no miner.
	None Rule = iota
	// Pattern is rule P, ground for suspicion.
	Pattern
	// JIT is rule J, ground for a kill.
	JIT
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

// A Decision is what the samples of a window amount to, with the evidence.
// Shares are from 0 to 1, and 0 of nothing.
type Decision struct {
	Rule Rule
	// Thread is the thread whose samples alone these are, or 0 if they are
	// those of all threads.
	Thread uint64
	// Window is the wall time from the first sample to the last.
	Window time.Duration

	Samples int
	Modes   [4]float64 // shares of the samples in each mode
	Known   int        // directed samples of which the memory is known
	JIT     float64    // share of these in memory that the process filled itself

	Pairs     int     // that rule P went by
	Uneven    float64 // χ²(2) of the directed modes being equally frequent
	Dependent float64 // χ²(9) of the mode after being independent of the mode before
	Held      float64 // share of pairs less than pairSpacing apart in one mode
}

// LogValue returns the evidence as a group.
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
		slog.Float64("uneven", round(d.Uneven)),
		slog.Float64("dependent", round(d.Dependent)),
		slog.Float64("held", round(d.Held)),
	)
}
