package rounding

import "time"

// Thresholds are the evidence that an operator may ask for. The limits of each are in
// package monero, with its settings.
type Thresholds struct {
	// Window is the wall time for which a sample counts. It is kept in slots of
	// an eighth, so that between 7/8 of it and all of it is in view.
	Window time.Duration
	// MaxThreads bounds the threads that a subject tracks separately.
	MaxThreads int
	// MinSamples is how many samples rule J needs. The memory must be known of
	// MinDirected of them.
	MinSamples int
	// MinDirected is the least share of samples in a directed mode, for rule J,
	// from 0 to 1.
	MinDirected float64
	// MinPairs is how many pairs of one thread rule P needs; of several threads
	// together it needs pairsFactor times as many.
	MinPairs int
}

// Defaults returns the thresholds with which the recordings and the simulations are
// tested.
func Defaults() Thresholds {
	return Thresholds{
		Window:      120 * time.Second,
		MaxThreads:  512,
		MinSamples:  64,
		MinDirected: 0.5,
		MinPairs:    64,
	}
}

// What follows are no settings: each follows from how RandomX works or from the
// statistics (doc.go). The recordings in ../testdata and the simulations are tested
// with these values.
const (
	// Spacing is the least CPU time of a thread between two of its samples. Samples
	// that come sooner are ignored: a program of RandomX's interpreter runs for 20 ms,
	// so they would mostly repeat the sample before.
	Spacing = 10 * time.Millisecond
	// pairSpacing is the CPU time of a thread between two samples from which on
	// they are a far pair. Successive samples closer than that are a near pair.
	// Rule P accepts either kind. Two programs of the interpreter take 40 ms: samples
	// that far apart are nearly independent.
	pairSpacing = 40 * time.Millisecond
	// maxPairGap is the largest wall time between the samples of a pair. After a longer
	// pause a thread has other work, so the pair says nothing about how long it holds a
	// mode.
	maxPairGap = 10 * time.Second

	// MinJIT is the least share of the directed samples of known memory that lie in
	// memory which the process filled itself, for rule J. It is at least 0.98 in the
	// recordings of compiled miners, and 0 in those of legitimate programs.
	MinJIT = 0.8

	// pairsFactor is how many times as many pairs rule P needs from several threads
	// together as from one, because threads with fewer than four modes each can look
	// random in sum.
	pairsFactor = 4
	// MinEachMode is the least share of pairs that end in each directed mode: about
	// half of RandomX's 0.23.
	MinEachMode = 0.125
	// minNearest and MaxNearest bound the share of pairs that end in the nearest mode:
	// a third and twice RandomX's 0.31.
	minNearest, MaxNearest = 0.1, 0.6
	// maxUneven bounds χ²(2) of the directed modes being equally frequent, for 256
	// pairs. Chance exceeds it in 1 of 1000 cases. What exceeds the expectation, 2, may
	// grow in proportion to the number of pairs.
	maxUneven = 13.8
	// maxDependent bounds, in the same way, χ²(9) of the mode after being independent
	// of the mode before. Chance exceeds it in 1 of 1000 cases.
	maxDependent = 27.9
	// MaxHeld is the largest share of near pairs in one mode, once there are MinPairs
	// of them. RandomX's interpreter reaches 0.54.
	MaxHeld = 0.65
)
