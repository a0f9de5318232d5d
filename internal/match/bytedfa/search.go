package bytedfa

import (
	"errors"
	"regexp/syntax"
	"slices"
)

// MaxSearch is the largest number of expressions of a Search.
const MaxSearch = 256

// A Set is a set of expressions, by index.
type Set [MaxSearch / 64]uint64

// Add adds an expression.
func (s *Set) Add(index int) { s[index/64] |= 1 << (index % 64) }

// Union adds the expressions of other.
func (s *Set) Union(other Set) {
	for i := range s {
		s[i] |= other[i]
	}
}

// Includes reports whether all expressions of other are in s.
func (s *Set) Includes(other Set) bool {
	for i := range s {
		if other[i]&^s[i] != 0 {
			return false
		}
	}
	return true
}

// A Search is a DFA that reports which of several expressions match anywhere in a text. Each
// byte of the text counts as the character with its number. A Search is immutable and safe
// for concurrent use.
type Search struct {
	// Classes has the class of each byte.
	Classes [256]uint8
	// Stride is the number of classes, with one for the end of the text, which is the last.
	Stride int
	// Next has the state that follows state s on class c at s*Stride+c.
	Next []uint16
	// Found has, for each state, the index in Sets of the expressions that have a match which
	// ends before the last byte read.
	Found []uint16
	// Sets begins with the empty set.
	Sets []Set
}

// End returns the class of the end of the text.
func (d *Search) End() int { return d.Stride - 1 }

// Match adds the expressions that match in text to found.
func (d *Search) Match(text []byte, found *Set) {
	s := Start
	step := func(class int) {
		s = int(d.Next[s*d.Stride+class])
		if set := d.Found[s]; set != 0 {
			found.Union(d.Sets[set])
		}
	}
	for _, b := range text {
		step(int(d.Classes[b]))
	}
	step(d.End())
}

// GroupSearch returns a few searches, one of which reports each of exprs, by its index. There
// are at most MaxSearch expressions. The error is a *TooLargeError if they exceed the limits.
// Time and memory are bounded in proportion to the limits.
func GroupSearch(exprs []*syntax.Regexp, limits Limits) ([]*Search, error) {
	limits.MaxStates = min(limits.MaxStates, MaxStates)
	searches := make([]*Search, len(exprs))
	largest := 0
	x := new(explorer)
	for i, expr := range exprs {
		d, err := x.compileSearch(expr, i, min(limits.Each, limits.MaxStates))
		switch {
		case errors.Is(err, ErrTooLarge):
			return nil, &TooLargeError{Index: i}
		case err != nil:
			return nil, err
		}
		searches[i] = d
		if d.size() > searches[largest].size() {
			largest = i
		}
	}
	searches, err := group(searches, limits, (*Search).size, x.mergeSearches)
	if err != nil {
		return nil, &TooLargeError{largest, true}
	}
	return searches, nil
}

func (d *Search) size() int { return len(d.Found) }

// mergeSearches returns the search for the expressions of a and b. Its only error is
// ErrTooLarge.
func (x *explorer) mergeSearches(a, b *Search, maxStates int) (*Search, error) {
	classes, bytes := bothClasses(&a.Classes, &b.Classes)
	width := len(bytes) + 1
	both := make([][2]uint16, width) // by class: those of a and b
	for c, i := range bytes {
		both[c] = [2]uint16{uint16(a.Classes[i]), uint16(b.Classes[i])}
	}
	both[len(bytes)] = [2]uint16{uint16(a.End()), uint16(b.End())}
	sets := newSets()
	t, err := x.explore(pairKey(Dead, Dead), pairKey(Start, Start), width, maxStates,
		func(key uint64, next []uint64) (uint16, error) {
			s, t := pairOf(key)
			ofA, ofB := a.row(s), b.row(t)
			for c, classes := range both {
				next[c] = pairKey(ofA[classes[0]], ofB[classes[1]])
			}
			found := a.Sets[a.Found[s]]
			found.Union(b.Sets[b.Found[t]])
			return sets.number(found)
		})
	if err != nil {
		return nil, err
	}
	return newSearch(classes, t, sets), nil
}

// row returns the states that follow state s, by class.
func (d *Search) row(s uint16) []uint16 { return d.Next[int(s)*d.Stride : (int(s)+1)*d.Stride] }

func newSearch(classes [256]uint8, t table, sets *sets) *Search {
	d := &Search{Classes: classes, Stride: t.width, Found: slices.Clone(t.accept), Sets: sets.all, Next: make([]uint16, len(t.next))}
	for i, next := range t.next {
		d.Next[i] = uint16(next)
	}
	return d
}

// sets numbers sets of expressions. The empty set is 0.
type sets struct {
	all     []Set
	numbers map[Set]uint16
}

func newSets() *sets { return &sets{[]Set{{}}, map[Set]uint16{{}: 0}} }

func (s *sets) number(set Set) (uint16, error) {
	number, known := s.numbers[set]
	if !known {
		if len(s.all) == MaxStates {
			return 0, ErrTooLarge
		}
		number = uint16(len(s.all))
		s.numbers[set] = number
		s.all = append(s.all, set)
	}
	return number, nil
}
