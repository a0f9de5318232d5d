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

// GroupSearch returns a few searches, one or more of which report each of exprs, by its
// index. There are at most MaxSearch expressions. The error is a *TooLargeError if they
// exceed the limits; Limits.Each is not used. Time and memory are bounded in proportion to
// the limits.
func GroupSearch(exprs []*syntax.Regexp, limits Limits) ([]*Search, error) {
	limits.MaxStates = min(limits.MaxStates, MaxStates)
	var made []*Search
	var add func(first, end int) error
	add = func(first, end int) error {
		if first == end {
			return nil
		}
		d, err := compileSearch(exprs, first, end, limits.MaxStates)
		switch {
		case err == nil && len(made) == limits.DFAs:
			return &TooLargeError{Index: first, Together: true}
		case err == nil:
			made = append(made, d)
			return nil
		case !errors.Is(err, ErrTooLarge):
			return err
		case end-first == 1:
			return &TooLargeError{Index: first}
		}
		half := (first + end) / 2
		if err := add(first, half); err != nil {
			return err
		}
		return add(half, end)
	}
	return made, add(0, len(exprs))
}

// compileSearch returns the search for exprs[first:end].
func compileSearch(exprs []*syntax.Regexp, first, end, maxStates int) (*Search, error) {
	b := &budget{maxStates: maxStates, work: searchWork * maxStates}
	prog := new(syntax.Prog)
	var starts []uint32
	for i, expr := range exprs[first:end] {
		one, err := syntax.Compile(expr.Simplify())
		if err != nil {
			return nil, err
		}
		starts = append(starts, uint32(len(prog.Inst)+one.Start))
		appendProg(prog, one, uint32(first+i))
	}
	abc, err := newAlphabet(prog, b)
	if err != nil {
		return nil, err
	}
	classes, abc := bytesOf(abc)
	x := &search{machine: machine{prog: prog, abc: abc, budget: b, seen: make([]bool, len(prog.Inst))}, sets: []Set{{}}, ids: map[Set]uint16{{}: 0}}
	x.begin(starts)
	width := len(abc.member) + 1
	t, err := explore("dead", x.key(edge, 0), width, limit(maxStates, width), x.visit)
	if err != nil {
		return nil, err
	}
	if t, err = t.minimal(maxStates); err != nil {
		return nil, err
	}
	d := &Search{Classes: classes, Stride: width, Found: t.accept, Sets: x.sets}
	for _, next := range t.next {
		d.Next = append(d.Next, uint16(next))
	}
	return d, nil
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

// searchWork is the number of steps that a search may take for each state. Most states take
// some for each class of bytes.
const searchWork = 1 << 11

// appendProg appends the instructions of one to prog. InstMatch gets an index as its Arg.
func appendProg(prog, one *syntax.Prog, index uint32) {
	shift := uint32(len(prog.Inst))
	for _, inst := range one.Inst {
		inst.Out += shift
		switch inst.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			inst.Arg += shift
		case syntax.InstMatch:
			inst.Arg = index
		}
		prog.Inst = append(prog.Inst, inst)
	}
}

// A search simulates the search for all expressions at once. A state is a set of
// instructions, as of a machine, without those of a match that begins now: they are in
// every state, so what follows from them is computed once.
type search struct {
	machine
	starts []uint32
	ready  map[[2]rune][]uint32  // by context before and after: starts, resolved
	after  map[[2]int32][]uint32 // by context before and class: what follows from starts
	sets   []Set
	ids    map[Set]uint16
}

func (x *search) begin(starts []uint32) {
	for _, pc := range starts {
		x.addClosure(pc, unknown)
	}
	x.starts = x.take()
	x.ready, x.after = make(map[[2]rune][]uint32), make(map[[2]int32][]uint32)
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

// key returns the key of the state with the collected set after a rune of context before,
// in which set is found, and clears the collection.
func (x *search) key(before rune, set uint16) string {
	slices.Sort(x.set)
	key := appendUint32(make([]byte, 0, 8+4*len(x.set)), uint32(before))
	key = appendUint32(key, uint32(set))
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
		matched, err := x.matched(ready, x.ready[[2]rune{before, after}])
		if err != nil {
			return 0, err
		}
		if after == edge {
			next[len(next)-1] = string(binary.LittleEndian.AppendUint32(nil, uint32(matched)))
			continue
		}
		for c, context := range x.abc.context {
			if context != after {
				continue
			}
			x.step(ready, c)
			for _, pc := range x.after[[2]int32{before, int32(c)}] {
				x.addClosure(pc, unknown)
			}
			if err := x.budget.spend(len(ready) + len(x.passed)); err != nil {
				return 0, err
			}
			next[c] = x.key(after, matched)
		}
	}
	return found, nil
}

// matched returns the number of the set of expressions that match.
func (x *search) matched(ready ...[]uint32) (uint16, error) {
	var set Set
	for _, pcs := range ready {
		for _, pc := range pcs {
			if inst := &x.prog.Inst[pc]; inst.Op == syntax.InstMatch {
				set.Add(int(inst.Arg))
			}
		}
	}
	id, known := x.ids[set]
	if !known {
		if len(x.sets) == MaxStates {
			return 0, ErrTooLarge
		}
		id = uint16(len(x.sets))
		x.ids[set] = id
		x.sets = append(x.sets, set)
	}
	return id, nil
}
