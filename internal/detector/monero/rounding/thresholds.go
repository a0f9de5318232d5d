package rounding

import "time"

// Thresholds are the settings of the rules. Package monero declares their limits.
type Thresholds struct {
	// Window is the wall time for which a sample counts. Samples are dropped by eighths of
	// it, so a sample counts for between 7/8 of it and all of it.
	Window time.Duration
	// MaxThreads bounds the threads that a subject tracks separately.
	MaxThreads int
	// MinSamples is the number of samples that rule J needs. MinDirected times as many must
	// be of known code.
	MinSamples int
	// MinDirected is the minimum share of samples in a directed mode for rule J, from 0 to 1.
	MinDirected float64
	// MinPairs is the number of pairs that rule P needs from one thread. It needs
	// pairsFactor times as many from several threads together.
	MinPairs int
}

// Defaults returns the default thresholds. The recordings and the simulations are tested
// with them.
func Defaults() Thresholds {
	return Thresholds{
		Window:      120 * time.Second,
		MaxThreads:  512,
		MinSamples:  64,
		MinDirected: 0.5,
		MinPairs:    64,
	}
}

// These are not settings, because they follow from RandomX or from the statistics (doc.go).
// The recordings in ../testdata and the simulations are tested with these values.
const (
	// Spacing is the minimum CPU time between two samples of a thread. Earlier samples are
	// ignored: a program of RandomX's interpreter runs for 20 ms, so they would mostly repeat
	// the previous sample.
	Spacing = 10 * time.Millisecond
	// pairSpacing is the minimum CPU time between the samples of a far pair. Successive
	// samples closer than that are a near pair. Rule P accepts either kind. Two programs of
	// the interpreter take 40 ms: samples that far apart are nearly independent.
	pairSpacing = 40 * time.Millisecond
	// maxPairGap is the maximum wall time between the samples of a pair. After a longer
	// pause a thread may do other work, so the pair does not show how long it holds a mode.
	maxPairGap = 10 * time.Second

	// MinJIT is, for rule J, the minimum share of JITCode in the directed samples of known
	// code. It is at least 0.98 in the recordings of compiled miners, and 0 in those of
	// legitimate programs.
	MinJIT = 0.8

	// pairsFactor is the factor by which rule P needs more pairs from several threads
	// together than from one, because threads with fewer than four modes each can look
	// random in sum.
	pairsFactor = 4
	// MinEachMode is the minimum share of pairs that end in each directed mode: about half of
	// RandomX's 0.23.
	MinEachMode = 0.125
	// minNearest and MaxNearest bound the share of pairs that end in the nearest mode:
	// a third and twice RandomX's 0.31.
	minNearest, MaxNearest = 0.1, 0.6
	// maxUniformChi2 bounds UniformChi2 for 256 pairs. Chance exceeds it in 1 of 1000 cases.
	// For other numbers of pairs see bound.
	maxUniformChi2 = 13.8
	// maxIndependentChi2 does the same for IndependentChi2.
	maxIndependentChi2 = 27.9
	// MaxRepeatShare is the maximum of RepeatShare, if there are at least MinPairs near pairs.
	// RandomX's interpreter reaches 0.54.
	MaxRepeatShare = 0.65
)
