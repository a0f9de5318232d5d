package scratchpad

import (
	"math/bits"
	"slices"
)

// A circle is sorted values of 32 bits, twice, so that values around 0 are consecutive too:
// the upper halves of their addresses differ by one.
type circle []uint32

// newCircle sorts the values and returns them twice, in the same memory if it has the
// capacity.
func newCircle(values []uint32) circle {
	n := len(values)
	c := append(values, values...)
	radixSort(c[:n], c[n:])
	copy(c[n:], c[:n])
	return c
}

// radixSort sorts values by their bytes, from the lowest to the highest, in a fifth of the
// time that slices.Sort takes for Capacity values. other has the same length.
func radixSort(values, other []uint32) {
	if len(values) < 128 {
		slices.Sort(values)
		return
	}
	for shift := 0; shift < 32; shift += 8 {
		var starts [257]uint16 // Capacity fits
		for _, x := range values {
			starts[x>>shift&255+1]++
		}
		for i := range 255 {
			starts[i+1] += starts[i]
		}
		for _, x := range values {
			at := &starts[x>>shift&255]
			other[*at] = x
			*at++
		}
		values, other = other, values
	}
}

// A span is values[from:to] of a circle.
type span struct{ from, to int }

func (s span) count() int { return s.to - s.from }

// Properties of a walk. Samples of a loop of CryptoNight have them but for chance.
const (
	minWalk   = 16   // values in the window
	minShare  = 5    // one in so many of all values is in the window
	maxChi2   = 24.3 // of 8 parts of the window: chance exceeds it in 1 of 1000 cases
	maxRepeat = 10   // at most one in so many values is in the same 64 bytes as another
)

// walk returns how many values are evenly all over a window of this size, or 0 if they are
// not, and whether next to none are near the window. The size is a power of two, from
// 2^smallest to 2^largest.
func (c circle) walk(size uint32) (n int, alone bool) {
	s := c.densest(size)
	if !c.even(s, size) {
		return 0, false
	}
	return s.count(), c.alone(s, size)
}

// walkBySteps returns the most values that are evenly all over a window of a power of two,
// in steps of 16 and not of 32, with next to none near the window. Without a mask that names
// the size, a part of a larger table would be a window too.
func (c circle) walkBySteps() (most int) {
	for k := largest; k >= smallest; k-- {
		size := uint32(1) << k
		s := c.densest(size)
		if s.count() < minWalk || s.count()*minShare < len(c)/2 || s.count() <= most {
			break // a smaller window has no more
		}
		if c.even(s, size) && stepsOf16(c[s.from:s.to]) && c.alone(s, size) {
			most = s.count()
		}
	}
	return most
}

// densest returns the span of at most size+64 bytes that holds most values, the first of
// several.
func (c circle) densest(size uint32) (best span) {
	n, j := len(c)/2, 0
	for i := range n {
		j = max(j, i+1)
		for j < i+n && c[j]-c[i] <= size+64 {
			j++
		}
		if j-i > best.count() {
			best = span{i, j}
		}
	}
	return best
}

// even reports whether a span is enough values, evenly all over a window of this size.
func (c circle) even(s span, size uint32) bool {
	if s.count() < minWalk || s.count()*minShare < len(c)/2 {
		return false
	}
	values := c[s.from:s.to]
	count, width := float64(len(values)), values[len(values)-1]-values[0]
	if float64(width) < float64(size)*(1-7/count) {
		return false
	}
	lines, parts := 1, [8]int{}
	for i, x := range values {
		if i > 0 && x/LineBytes != values[i-1]/LineBytes {
			lines++
		}
		parts[min((x-values[0])/(size/8), 7)]++ // the span can be somewhat longer
	}
	chi2 := 0.0
	for _, n := range parts {
		chi2 += (float64(n) - count/8) * (float64(n) - count/8) / (count / 8)
	}
	return (len(values)-lines)*maxRepeat <= len(values) && chi2 <= maxChi2
}

// stepsOf16 reports whether nine in ten values are multiples of 16, and of these at least a
// quarter are multiples of 32, and a quarter are not.
func stepsOf16(values []uint32) bool {
	var by [6]int // by the power of two that divides the value
	for _, x := range values {
		by[min(bits.TrailingZeros32(x), 5)]++
	}
	all := by[4] + by[5]
	return all*10 >= len(values)*9 && by[4]*4 >= all && by[5]*4 >= all
}

// alone reports whether at most an eighth as many values as in a span are within half of the
// size before and after it. In a window of a larger table it would be as many.
func (c circle) alone(s span, size uint32) bool {
	n, near := len(c)/2, 0
	for i := s.to; i < s.from+n && c[i]-c[s.to-1] <= size/2; i++ {
		near++
	}
	for i := s.from + n - 1; i >= s.to && c[s.from]-c[i] <= size/2; i-- {
		near++
	}
	return near*8 <= s.count()
}
