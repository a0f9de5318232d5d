package bytedfa

import (
	"encoding/binary"
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
	for i, expr := range exprs {
		d, err := compileSearch(expr, i, min(limits.Each, limits.MaxStates))
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
	searches, err := group(searches, limits, (*Search).size, mergeSearches)
	if err != nil {
		return nil, &TooLargeError{largest, true}
	}
	return searches, nil
}

func (d *Search) size() int { return len(d.Found) }

// mergeSearches returns the search for the expressions of a and b. Its only error is
// ErrTooLarge.
func mergeSearches(a, b *Search, maxStates int) (*Search, error) {
	classes, bytes := bothClasses(&a.Classes, &b.Classes)
	width := len(bytes) + 1
	sets := newSets()
	t, err := explore([2]uint16{Dead, Dead}, [2]uint16{Start, Start}, width, maxStates,
		func(s [2]uint16, next [][2]uint16) (uint16, error) {
			for c, i := range bytes {
				next[c] = [2]uint16{a.next(s[0], int(a.Classes[i])), b.next(s[1], int(b.Classes[i]))}
			}
			next[len(bytes)] = [2]uint16{a.next(s[0], a.End()), b.next(s[1], b.End())}
			found := a.Sets[a.Found[s[0]]]
			found.Union(b.Sets[b.Found[s[1]]])
			return sets.number(found)
		})
	if err != nil {
		return nil, err
	}
	return newSearch(classes, t, sets), nil
}

func (d *Search) next(s uint16, class int) uint16 { return d.Next[int(s)*d.Stride+class] }

func newSearch(classes [256]uint8, t table, sets *sets) *Search {
	d := &Search{Classes: classes, Stride: t.width, Found: t.accept, Sets: sets.all, Next: make([]uint16, len(t.next))}
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

// compileSearch returns the search for an expression, which has an index.
func compileSearch(expr *syntax.Regexp, index, maxStates int) (*Search, error) {
	b := newBudget(maxStates)
	prog, err := syntax.Compile(expr.Simplify())
	if err != nil {
		return nil, err
	}
	abc, err := newAlphabet(prog, b)
	if err != nil {
		return nil, err
	}
	classes, abc := bytesOf(abc)
	x := &search{machine: machine{prog: prog, abc: abc, budget: b, seen: make([]bool, len(prog.Inst))}}
	x.begin(uint32(prog.Start))
	width := len(abc.member) + 1
	t, err := explore(deadSearch, x.key(edge, 0), width, limit(maxStates, width), x.visit)
	if err != nil {
		return nil, err
	}
	if t, err = t.minimal(maxStates); err != nil {
		return nil, err
	}
	sets := newSets()
	var found Set
	found.Add(index)
	if _, err := sets.number(found); err != nil {
		return nil, err
	}
	return newSearch(classes, t, sets), nil
}

// bytesOf returns the classes of the characters that are bytes, and an alphabet of these
// classes alone: the others, as of the kelvin sign beside k, would only add states.
func bytesOf(abc *alphabet) (classes [256]uint8, bytes *alphabet) {
	bytes = new(alphabet)
	ids := make(map[int]uint8)
	for b := range classes {
		c := abc.classOf(rune(b))
		id, known := ids[c]
		if !known {
			id = uint8(len(ids))
			ids[c] = id
			bytes.member, bytes.context = append(bytes.member, rune(b)), append(bytes.context, abc.context[c])
		}
		classes[b] = id
	}
	return classes, bytes
}

// A search simulates the search for an expression at all places at once. A state is a set of
// instructions, as of a machine, without those of a match that begins now: they are in
// every state, so what follows from them is computed once.
type search struct {
	machine
	starts []uint32
	ready  map[[2]rune][]uint32  // by context before and after: starts, resolved
	after  map[[2]int32][]uint32 // by context before and class: what follows from starts
	idle   map[idle]string       // keys of states that follow from starts alone
}

// idle is how such a state is reached.
type idle struct {
	before, class int32
	found         uint16
}

func (x *search) begin(start uint32) {
	x.addClosure(start, unknown)
	x.starts = x.take()
	x.ready, x.after, x.idle = make(map[[2]rune][]uint32), make(map[[2]int32][]uint32), make(map[idle]string)
	for _, before := range []rune{edge, newline, word, other} {
		for _, after := range []rune{edge, newline, word, other} {
			x.ready[[2]rune{before, after}] = x.resolve(x.starts, before, after)
		}
		for c, context := range x.abc.context {
			x.step(x.ready[[2]rune{before, context}], c)
			x.after[[2]int32{before, int32(c)}] = x.take()
		}
	}
}

// step collects what follows from ready on class c.
func (x *search) step(ready []uint32, c int) {
	for _, pc := range ready {
		if inst := &x.prog.Inst[pc]; matches(inst, x.abc.member[c]) {
			x.addClosure(inst.Out, unknown)
		}
	}
}

// take returns the collected set, sorted, and clears the collection.
func (x *search) take() []uint32 {
	slices.Sort(x.set)
	set := slices.Clone(x.set)
	x.clear()
	return set
}

// key returns the key of the state with the collected set after a rune of context before; found
// is 1 if a match ended before that rune. It clears the collection.
func (x *search) key(before rune, found uint16) string {
	slices.Sort(x.set)
	key := appendUint32(make([]byte, 0, 8+4*len(x.set)), uint32(before))
	key = appendUint32(key, uint32(found))
	for _, pc := range x.set {
		key = appendUint32(key, pc)
	}
	x.clear()
	return string(key)
}

const deadSearch = "dead"

// visit writes the keys of the successors of key, by class, to next.
func (x *search) visit(key string, next []string) (found uint16, err error) {
	if len(key) == len(deadSearch) { // or the state after the end, which has no successors
		for c := range next {
			next[c] = deadSearch
		}
		if key != deadSearch {
			found = binary.LittleEndian.Uint16([]byte(key))
		}
		return found, nil
	}
	before := rune(binary.LittleEndian.Uint32([]byte(key)))
	found = uint16(binary.LittleEndian.Uint32([]byte(key[4:])))
	var set []uint32
	for i := 8; i < len(key); i += 4 {
		set = append(set, binary.LittleEndian.Uint32([]byte(key[i:])))
	}
	for _, after := range []rune{edge, newline, word, other} {
		ready := x.resolve(set, before, after)
		matched := x.matched(ready) | x.matched(x.ready[[2]rune{before, after}])
		if after == edge {
			next[len(next)-1] = string(binary.LittleEndian.AppendUint32(nil, uint32(matched)))
			continue
		}
		for c, context := range x.abc.context {
			if context != after {
				continue
			}
			if err := x.budget.spend(len(ready)); err != nil {
				return 0, err
			}
			x.step(ready, c)
			from := idle{before, int32(c), matched}
			isIdle := len(x.set) == 0
			if key := x.idle[from]; isIdle && key != "" {
				x.clear()
				next[c] = key
				continue
			}
			for _, pc := range x.after[[2]int32{before, int32(c)}] {
				x.addClosure(pc, unknown)
			}
			if err := x.budget.spend(len(x.passed)); err != nil {
				return 0, err
			}
			next[c] = x.key(after, matched)
			if isIdle {
				x.idle[from] = next[c]
			}
		}
	}
	return found, nil
}

// matched returns 1 if the end of a match is among instructions.
func (x *search) matched(pcs []uint32) uint16 {
	if slices.ContainsFunc(pcs, func(pc uint32) bool { return x.prog.Inst[pc].Op == syntax.InstMatch }) {
		return 1
	}
	return 0
}
