package rounding

import "time"

// A matrix counts pairs of samples by the modes of the first and the second.
type matrix [4][4]uint32

// counts are the input of the rules for a span of time.
type counts struct {
	first time.Duration // wall time of the first sample
	modes [4]uint32     // samples in each mode
	known uint32        // directed samples whose code is known
	jit   uint32        // directed samples in JITCode
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
	if x.Mode == 0 || x.Code == UnknownCode {
		return
	}
	c.known++
	if x.Code == JITCode {
		c.jit++
	}
}

// slots is the number of intervals into which a window is divided.
const slots = 8

// A window holds the counts of the last slots intervals, in constant space.
type window struct {
	slot     [slots]counts
	interval int64 // number of the newest
}

// at returns the counts of an interval and clears those that have left the window.
// Numbers of intervals are not negative and never decrease.
func (w *window) at(interval int64) *counts {
	for i := range min(interval-w.interval, slots) {
		w.slot[(interval-i)%slots] = counts{}
	}
	w.interval = interval
	return &w.slot[interval%slots]
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
