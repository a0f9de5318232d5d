package rounding

import "time"

// decide applies the rules to the counts of a window that ends now. Rule P needs minPairs.
func (t *Thresholds) decide(c counts, now time.Duration, minPairs int) Decision {
	n := c.samples()
	d := Decision{
		Window:  now - c.first,
		Samples: int(n),
		Known:   int(c.known),
		JIT:     share(c.jit, c.known),
	}
	for mode := range c.modes {
		d.Modes[mode] = share(c.modes[mode], n)
	}
	near, far := newPattern(&c.near), newPattern(&c.far)
	d.RepeatShare = near.same
	d.Pairs, d.UniformChi2, d.IndependentChi2 = far.pairs, far.uniformChi2, far.independentChi2

	switch {
	case d.Samples >= t.MinSamples && 1-d.Modes[0] >= t.MinDirected &&
		float64(d.Known) >= t.MinDirected*float64(t.MinSamples) && d.JIT >= MinJIT:
		d.Rule = JIT
	case near.pairs >= t.MinPairs && near.same > MaxRepeatShare:
	case far.pairs >= minPairs && far.random():
		d.Rule = Pattern
	case near.pairs >= minPairs && near.random():
		d.Rule = Pattern
		d.Pairs, d.UniformChi2, d.IndependentChi2 = near.pairs, near.uniformChi2, near.independentChi2
	}
	return d
}

// random reports whether pairs look like independent draws with equally frequent directed
// modes.
func (p pattern) random() bool {
	return p.nearest >= minNearest && p.nearest <= MaxNearest &&
		p.rarest >= MinEachMode &&
		p.uniformChi2 <= bound(maxUniformChi2, 2, p.pairs) &&
		p.independentChi2 <= bound(maxIndependentChi2, 9, p.pairs)
}

// bound returns the bound of χ² for n pairs: the expected value, which is the number of
// degrees of freedom, plus an excess in proportion to n. It is at256 for 256 pairs. χ² of a
// real deviation grows in the same proportion.
func bound(at256, freedom float64, n int) float64 {
	return freedom + (at256-freedom)*float64(n)/256
}

// A pattern has the statistics of pairs for rule P.
type pattern struct {
	pairs                        int
	nearest, rarest              float64 // shares of pairs that end in the nearest mode, and in the rarest directed one
	same                         float64 // share of pairs of equal modes
	uniformChi2, independentChi2 float64 // as in Decision
}

func newPattern(m *matrix) pattern {
	var before, after [4]uint32
	var same, n uint32
	for a := range 4 {
		for b, pairs := range m[a] {
			before[a] += pairs
			after[b] += pairs
			n += pairs
		}
		same += m[a][a]
	}
	p := pattern{
		pairs:   int(n),
		nearest: share(after[0], n),
		rarest:  share(min(after[1], after[2], after[3]), n),
		same:    share(same, n),
	}
	if n == 0 {
		return p
	}
	for b := range 4 {
		if b > 0 {
			p.uniformChi2 += deviation(after[b], float64(n-after[0])/3)
		}
		for a := range 4 {
			p.independentChi2 += deviation(m[a][b], float64(before[a])*float64(after[b])/float64(n))
		}
	}
	return p
}

func deviation(observed uint32, expected float64) float64 {
	if expected == 0 {
		return 0
	}
	return (float64(observed) - expected) * (float64(observed) - expected) / expected
}

func share(part, whole uint32) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
