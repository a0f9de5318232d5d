package rounding

import (
	"fmt"
	"time"
)

// Thresholds say how much evidence each rule asks for. Shares are from 0 to 1.
// The doc comment of each field ends with the default.
type Thresholds struct {
	// Window is the wall time for which a sample counts. It is kept in slots of
	// an eighth, so that between 7/8 of it and all of it is in view. (120 s)
	Window time.Duration
	// Spacing is the least CPU time of a thread between two of its samples. Those
	// that come sooner are left out. (10 ms)
	Spacing time.Duration
	// MaxThreads bounds the threads that a subject tells apart. (512)
	MaxThreads int

	// MinSamples is how many samples rule J needs; of MinDirected of them it must
	// be known where they lay. (64)
	MinSamples int
	// MinDirected is the least share of samples in a directed mode, for rule
	// J. (0.5)
	MinDirected float64
	// MinJIT is the least share of the directed samples of which the memory is
	// known that lie in memory which the process filled itself, for rule J. (0.8)
	MinJIT float64

	// PairSpacing is the CPU time of a thread between two samples from which on
	// they are a far pair. Successive samples closer than that are a near pair.
	// Rule P is content with either kind. (40 ms)
	PairSpacing time.Duration
	// MaxPairGap is the most wall time between the two of a pair. (10 s)
	MaxPairGap time.Duration
	// MinPairs is how many pairs of one thread rule P needs. (64)
	MinPairs int
	// MinPairsSum is how many it needs from several threads together. (256)
	MinPairsSum int
	// MinEachMode is the least share of pairs that end in each of the directed
	// modes. (0.125)
	MinEachMode float64
	// MinNearest and MaxNearest bound the share of pairs that end in the
	// nearest mode. (0.1, 0.6)
	MinNearest, MaxNearest float64
	// MaxUneven bounds χ²(2) of the directed modes being equally frequent, for
	// 256 pairs. What exceeds its expectation, 2, may grow in proportion to the
	// number of pairs. (13.8, exceeded by chance in 1 of 1000)
	MaxUneven float64
	// MaxDependent bounds, in the same way, χ²(9) of the mode after being
	// independent of the mode before. (27.9, exceeded by chance in 1 of 1000)
	MaxDependent float64
	// MaxHeld is the largest share of near pairs in one mode, once there are
	// MinPairs of them. (0.65)
	MaxHeld float64
}

// Defaults returns the thresholds that the tests judge the recordings and the
// simulations by.
func Defaults() Thresholds {
	return Thresholds{
		Window:       120 * time.Second,
		Spacing:      10 * time.Millisecond,
		MaxThreads:   512,
		MinSamples:   64,
		MinDirected:  0.5,
		MinJIT:       0.8,
		PairSpacing:  40 * time.Millisecond,
		MaxPairGap:   10 * time.Second,
		MinPairs:     64,
		MinPairsSum:  256,
		MinEachMode:  0.125,
		MinNearest:   0.1,
		MaxNearest:   0.6,
		MaxUneven:    13.8,
		MaxDependent: 27.9,
		MaxHeld:      0.65,
	}
}

// Validate returns an error that names the first value that makes no sense.
func (t Thresholds) Validate() error {
	unit := func(share float64) bool { return share >= 0 && share <= 1 }
	for _, c := range []struct {
		ok    bool
		name  string
		value any
		want  string
	}{
		{t.Window >= time.Second && t.Window <= 24*time.Hour, "Window", t.Window, "from 1s to 24h"},
		{t.Spacing >= 0, "Spacing", t.Spacing, "0s or more"},
		{t.MaxThreads >= 1, "MaxThreads", t.MaxThreads, "1 or more"},
		{t.MinSamples >= 1, "MinSamples", t.MinSamples, "1 or more"},
		{unit(t.MinDirected), "MinDirected", t.MinDirected, "from 0 to 1"},
		{unit(t.MinJIT), "MinJIT", t.MinJIT, "from 0 to 1"},
		{t.PairSpacing >= t.Spacing, "PairSpacing", t.PairSpacing, "Spacing or more"},
		{t.MaxPairGap >= 0, "MaxPairGap", t.MaxPairGap, "0s or more"},
		{t.MinPairs >= 1, "MinPairs", t.MinPairs, "1 or more"},
		{t.MinPairsSum >= t.MinPairs, "MinPairsSum", t.MinPairsSum, "MinPairs or more"},
		{unit(t.MinEachMode), "MinEachMode", t.MinEachMode, "from 0 to 1"},
		{unit(t.MinNearest), "MinNearest", t.MinNearest, "from 0 to 1"},
		{unit(t.MaxNearest), "MaxNearest", t.MaxNearest, "from 0 to 1"},
		{t.MaxUneven >= 2, "MaxUneven", t.MaxUneven, "2 or more"},
		{t.MaxDependent >= 9, "MaxDependent", t.MaxDependent, "9 or more"},
		{unit(t.MaxHeld), "MaxHeld", t.MaxHeld, "from 0 to 1"},
	} {
		if !c.ok {
			return fmt.Errorf("%s is %v, not %s", c.name, c.value, c.want)
		}
	}
	return nil
}
