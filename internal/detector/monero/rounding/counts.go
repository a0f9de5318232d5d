package rounding

import "time"

// A matrix counts pairs of samples by the mode before and the mode after.
type matrix [4][4]uint32

// counts is what the rules need to know of the samples of a span of time.
type counts struct {
	first time.Duration // wall time of the first sample
	modes [4]uint32     // samples in each mode
	known uint32        // directed samples of which the memory is known
	jit   uint32        // those in memory that the process filled itself
	near  matrix        // pairs of successive samples less than pairSpacing apart
	far   matrix        // pairs at least pairSpacing apart
}

func (c *counts) samples() uint32 {
	return c.modes[0] + c.modes[1] + c.modes[2] + c.modes[3]
}

func (c *counts) add(x Sample) {
	if c.samples() == 0 {
		c.first = x.At
	}
	c.modes[x.Mode]++
	if x.Mode == 0 || x.Memory == OtherMemory {
		return
	}
	c.known++
	if x.Memory == AnonymousMemory {
		c.jit++
	}
}

// slots is the number of turns of the clock that a window spans.
const slots = 8

// A window holds the counts of the last slots turns, in constant space.
type window struct {
	slot [slots]counts
	turn int64 // of the newest slot
}

// at returns the counts of the given turn, after emptying those that the window
// has left behind. Turns are not negative and never decrease.
func (w *window) at(turn int64) *counts {
	for i := range min(turn-w.turn, slots) {
		w.slot[(turn-i)%slots] = counts{}
	}
	w.turn = turn
	return &w.slot[turn%slots]
}

// sum returns the counts of the whole window.
func (w *window) sum() counts {
	var s counts
	for i := range w.slot {
		c := &w.slot[i]
		if c.samples() > 0 && (s.samples() == 0 || c.first < s.first) {
			s.first = c.first
		}
		s.known += c.known
		s.jit += c.jit
		for a := range 4 {
			s.modes[a] += c.modes[a]
			for b := range 4 {
				s.near[a][b] += c.near[a][b]
				s.far[a][b] += c.far[a][b]
			}
		}
	}
	return s
}
