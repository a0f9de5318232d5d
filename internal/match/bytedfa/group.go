package bytedfa

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Limits bound the DFAs that Group makes.
type Limits struct {
	DFAs      int // number of DFAs
	Each      int // states of the DFA of one expression
	MaxStates int // states of a DFA of several expressions
}

// A TooLargeError names an expression that exceeds the limits.
type TooLargeError struct {
	Index    int  // of the expression
	Together bool // only all expressions together exceed the limits; this is the largest
}

func (e *TooLargeError) Error() string {
	if e.Together {
		return fmt.Sprintf("expression %d, with the others, is %v", e.Index, ErrTooLarge)
	}
	return fmt.Sprintf("expression %d is %v", e.Index, ErrTooLarge)
}

func (e *TooLargeError) Unwrap() error { return ErrTooLarge }

// Group returns a few DFAs, one of which matches a text if any of exprs does. It names any
// of the expressions that match, not always the first: once an expression matches whatever
// follows, the DFA stops tracking the others, which keeps it small.
//
// The error is a *TooLargeError if exprs exceed the limits. Otherwise it names the invalid
// expression by its index.
//
// Time and memory for an expression are bounded in proportion to limits.Each. With 4096
// states, the worst expression tried took half a second and 50 MB; most take a millisecond.
// Parsing it with regexp/syntax comes on top: a second and hundreds of MB for the worst
// expression of some ten thousand bytes that it accepts.
func Group(exprs []string, limits Limits) ([]*DFA, error) {
	if len(exprs) > math.MaxUint16 {
		return nil, fmt.Errorf("%d expressions are more than %d", len(exprs), math.MaxUint16)
	}
	limits.Each = min(limits.Each, MaxStates)
	limits.MaxStates = min(limits.MaxStates, MaxStates)
	dfas := make([]*DFA, len(exprs))
	largest := 0
	x := new(explorer)
	for i, expr := range exprs {
		dfa, err := x.compile(expr, i, limits.Each)
		switch {
		case errors.Is(err, ErrTooLarge):
			return nil, &TooLargeError{Index: i}
		case err != nil:
			return nil, fmt.Errorf("expression %d: %w", i, err)
		}
		dfas[i] = dfa
		if len(dfa.Accept) > len(dfas[largest].Accept) {
			largest = i
		}
	}
	dfas, err := group(dfas, limits, (*DFA).size, x.merge)
	if err != nil {
		return nil, &TooLargeError{largest, true}
	}
	return dfas, nil
}

// group merges dfas: first, by divide and conquer, those whose merged DFA is hardly larger
// than both, and then small ones until at most limits.DFAs are left. size returns the states
// of a DFA; merge may return ErrTooLarge.
func group[D any](dfas []D, limits Limits, size func(D) int, merge func(a, b D, maxStates int) (D, error)) ([]D, error) {
	if len(dfas) < 2 {
		return dfas, nil
	}
	half := len(dfas) / 2
	merged, err := group(dfas[:half:half], limits, size, merge)
	if err != nil {
		return nil, err
	}
	right, err := group(dfas[half:], limits, size, merge)
	if err != nil {
		return nil, err
	}
next:
	for _, b := range right {
		for i, a := range merged {
			cheap := size(a) + size(b) + 256
			if both, err := merge(a, b, min(cheap, limits.MaxStates)); err == nil {
				merged[i] = both
				continue next
			}
		}
		merged = append(merged, b)
	}
	for len(merged) > limits.DFAs {
		slices.SortStableFunc(merged, func(a, b D) int { return size(a) - size(b) })
		if merged = mergeOne(merged, limits, size, merge); merged == nil {
			return nil, ErrTooLarge
		}
	}
	return merged, nil
}

// mergeOne merges the smallest of dfas that it can with the one that gives the smallest: two small
// ones may have much to remember of each other. It returns nil if no two fit.
func mergeOne[D any](dfas []D, limits Limits, size func(D) int, merge func(a, b D, maxStates int) (D, error)) []D {
	for i, a := range dfas {
		with, least := -1, limits.MaxStates
		var best D
		for j, b := range dfas[i+1:] {
			if both, err := merge(a, b, least); err == nil {
				best, with, least = both, i+1+j, size(both)-1
			}
		}
		if with >= 0 {
			dfas[with] = best
			return slices.Delete(dfas, i, i+1)
		}
	}
	return nil
}

func (d *DFA) size() int { return len(d.Accept) }

// bothClasses returns the classes of bytes that are of the same class in a and in b, and a byte
// of each.
func bothClasses(a, b *[256]uint8) (classes [256]uint8, bytes []byte) {
	ids := make(map[[2]uint8]uint8)
	for i := range classes {
		both := [2]uint8{a[i], b[i]}
		id, known := ids[both]
		if !known {
			id = uint8(len(bytes))
			ids[both] = id
			bytes = append(bytes, byte(i))
		}
		classes[i] = id
	}
	return classes, bytes
}

// merge returns the minimal product of a and b. Its only error is ErrTooLarge: the product
// has more than maxStates states, or twice as many before it is minimized.
func (x *explorer) merge(a, b *DFA, maxStates int) (*DFA, error) {
	classes, bytes := bothClasses(&a.Classes, &b.Classes)
	ofA, ofB := a.futures(), b.futures()
	reduce := func(s, t uint16) uint64 {
		switch x, y := ofA[s], ofB[t]; {
		case x.includes(y):
			return pairKey(s, Dead)
		case y.includes(x):
			return pairKey(Dead, t)
		}
		return pairKey(s, t)
	}
	visit := func(key uint64, next []uint64) (accept uint16, err error) {
		s, t := pairOf(key)
		for c, i := range bytes {
			next[c] = reduce(a.Step(s, i), b.Step(t, i))
		}
		if accept = a.Accept[s]; accept == 0 {
			accept = b.Accept[t]
		}
		return accept, nil
	}
	t, err := x.explore(pairKey(Dead, Dead), pairKey(Start, Start), len(bytes), 2*maxStates, visit)
	if err != nil {
		return nil, err
	}
	if t, err = t.minimal(maxStates); err != nil {
		return nil, err
	}
	return newDFA(classes, t), nil
}

// pairKey returns the key of a state of a product.
func pairKey(a, b uint16) uint64 { return uint64(a)<<16 | uint64(b) }

func pairOf(key uint64) (a, b uint16) { return uint16(key >> 16), uint16(key) }

// A future classifies a state by the texts that are accepted from it.
type future uint8

const (
	some    future = iota
	oneLine        // only texts without a newline
	anyLine        // exactly the texts without a newline
	all            // all texts
)

// includes reports whether all texts that g accepts are certainly accepted by f.
func (f future) includes(g future) bool {
	return f == all || f == anyLine && (g == oneLine || g == anyLine)
}

// futures returns the future of each state.
func (d *DFA) futures() []future {
	n := len(d.Accept)
	f := make([]future, n)
	from := make([][]uint16, n) // predecessors of each state
	var work []uint16
	for s := range n {
		f[s] = oneLine
		row := d.Next[s*d.Stride : (s+1)*d.Stride]
		for c, next := range row {
			if !slices.Contains(row[:c], next) {
				from[next] = append(from[next], uint16(s))
			}
		}
		if d.Step(uint16(s), '\n') != Dead {
			f[s] = some
			work = append(work, uint16(s))
		}
	}
	for len(work) > 0 { // states from which a text with a newline may be accepted
		s := work[len(work)-1]
		work = work[:len(work)-1]
		for _, before := range from[s] {
			if f[before] == oneLine {
				f[before] = some
				work = append(work, before)
			}
		}
	}
	for s := range n {
		if d.Accept[s] == 0 {
			continue
		}
		stays, newline := true, d.Step(uint16(s), '\n')
		for b := range 256 {
			stays = stays && (b == '\n' || d.Step(uint16(s), byte(b)) == uint16(s))
		}
		switch {
		case stays && int(newline) == s:
			f[s] = all
		case stays && newline == Dead:
			f[s] = anyLine
		}
	}
	return f
}
