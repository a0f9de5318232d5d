package bytedfa

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
)

// compileSearch returns the search for an expression, which has an index.
func (x *explorer) compileSearch(expr *syntax.Regexp, index, maxStates int) (*Search, error) {
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
	s, err := newSearcher(prog, abc, b)
	if err != nil {
		return nil, err
	}
	width := len(abc.member) + 1
	t, err := x.explore(ended, searchKey(s.take(), 0, 0), width, limit(maxStates, width), s.visit)
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

// A searcher simulates the search for an expression at all places at the same time. A state
// is a set of instructions, as of a machine, without those of a match that begins now: they
// are in every state, so what follows from them is computed once.
type searcher struct {
	machine
	matches [4][4]uint16 // by context before and after: whether starts match the empty text
	idle    [4][]uint32  // by context before, and class: the set that follows from starts
	context []uint8      // by class: index in contexts
	reads   [][]uint8    // by instruction: the classes that it reads
	known   *pool        // what led to a set: the key of an idle state, and instructions
	results []uint32     // by number in known: the set
	read    [256][]byte  // by class: what leads to the next set, empty between visits
	touched []uint8      // the classes for which it is not empty
	current []uint32     // the set of the state that is visited
}

// contexts returns those before and after a rune, which have these indexes in a searcher.
func contexts() [4]rune { return [4]rune{edge, newline, word, other} }

// searchKey returns the key of the state with a set after a rune of context before. found is 1
// if a match ended before that rune.
func searchKey(set uint32, found uint16, before uint8) uint64 {
	return uint64(set) | uint64(found)<<32 | uint64(before)<<40
}

// ended is in the key of the state after the end. Without a match it is the dead state.
const ended = 1 << 63

func newSearcher(prog *syntax.Prog, abc *alphabet, b *budget) (*searcher, error) {
	x := &searcher{machine: *newMachine(prog, abc, b), known: newPool()}
	contexts := contexts()
	for _, context := range abc.context {
		x.context = append(x.context, uint8(slices.Index(contexts[:], context)))
	}
	if err := x.readClasses(); err != nil {
		return nil, err
	}
	x.addClosure(uint32(prog.Start), unknown)
	starts := slices.Clone(x.set)
	x.clear()
	for before := range contexts {
		var ready [4][]uint32
		for after := range contexts {
			ready[after] = x.resolve(starts, contexts[before], contexts[after])
			x.matches[before][after] = x.matched(ready[after])
		}
		for c, context := range x.context {
			for _, pc := range ready[context] {
				if slices.Contains(x.reads[pc], uint8(c)) {
					x.addClosure(prog.Inst[pc].Out, unknown)
				}
			}
			x.idle[before] = append(x.idle[before], x.take())
		}
	}
	return x, nil
}

// readClasses computes the classes that each instruction reads. Most instructions are like
// another one.
func (x *searcher) readClasses() error {
	alike := make(map[string][]uint8)
	var key []byte
	for i := range x.prog.Inst {
		inst := &x.prog.Inst[i]
		key = readsKey(key[:0], inst)
		reads, known := alike[string(key)]
		if !known {
			if err := x.budget.spend(len(x.abc.member)); err != nil {
				return err
			}
			for c, r := range x.abc.member {
				if matches(inst, r) {
					reads = append(reads, uint8(c))
				}
			}
			alike[string(key)] = reads
		}
		x.reads = append(x.reads, reads)
	}
	return nil
}

// visit writes the keys of the successors of key, by class, to next.
func (x *searcher) visit(key uint64, next []uint64) (found uint16, err error) {
	found = uint16(key >> 32 & 1)
	if key&ended != 0 {
		for c := range next {
			next[c] = ended
		}
		return found, nil
	}
	x.current = slices.AppendSeq(x.current[:0], x.pool.list(uint32(key)))
	before := uint8(key >> 40)
	matched, err := x.readAll(before)
	if err != nil {
		return 0, err
	}
	for c, context := range x.context {
		next[c] = searchKey(x.idle[before][c], matched[context], context)
	}
	next[len(next)-1] = ended | searchKey(0, matched[0], 0)
	for _, c := range x.touched {
		set, err := x.follow(x.read[c])
		if err != nil {
			return 0, err
		}
		next[c] = next[c]&^(1<<32-1) | uint64(set)
		x.read[c] = x.read[c][:0]
	}
	x.touched = x.touched[:0]
	return found, nil
}

// readAll collects in read what leads from the set current, after a rune of context before, to
// the next sets. It returns 1 for each context of the next rune before which a match ends.
func (x *searcher) readAll(before uint8) (matched [4]uint16, err error) {
	matched = x.matches[before]
	if !slices.ContainsFunc(x.current, x.asserts) {
		for after := range matched {
			matched[after] |= x.matched(x.current)
		}
		return matched, x.collect(x.current, before, 0b1111)
	}
	for after, context := range contexts() {
		ready := x.resolve(x.current, contexts()[before], context)
		matched[after] |= x.matched(ready)
		if err := x.collect(ready, before, 1<<after); err != nil {
			return matched, err
		}
	}
	return matched, nil
}

// collect does so for instructions, and for the runes of some contexts.
func (x *searcher) collect(ready []uint32, before uint8, contexts uint8) error {
	for _, pc := range ready {
		for _, c := range x.reads[pc] {
			if contexts&(1<<x.context[c]) == 0 {
				continue
			}
			if len(x.read[c]) == 0 {
				x.touched = append(x.touched, c)
				x.read[c] = appendUint32(x.read[c], x.idle[before][c])
			}
			x.read[c] = appendUint32(x.read[c], pc)
		}
	}
	return x.budget.spend(len(ready) * len(x.context))
}

// follow returns the set that follows from read: the number of the set that follows from starts,
// and instructions.
func (x *searcher) follow(read []byte) (set uint32, err error) {
	const maxKnown = 1 << 22 // bytes
	if len(x.known.lists) > maxKnown {
		x.known, x.results = newPool(), nil
	}
	number, isNew := x.known.number(read)
	if !isNew {
		set = x.results[number]
		return set, x.budget.spend(len(x.pool.encoded(set)) / 4)
	}
	for pc := range decode(read[4:]) {
		x.addClosure(x.prog.Inst[pc].Out, unknown)
	}
	for pc := range x.pool.list(binary.LittleEndian.Uint32(read)) {
		x.addClosure(pc, unknown)
	}
	if err := x.budget.spend(len(x.passed)); err != nil {
		return 0, err
	}
	set = x.take()
	x.results = append(x.results, set)
	return set, nil
}

// matched returns 1 if the end of a match is among instructions.
func (x *searcher) matched(pcs []uint32) uint16 {
	if slices.ContainsFunc(pcs, func(pc uint32) bool { return x.prog.Inst[pc].Op == syntax.InstMatch }) {
		return 1
	}
	return 0
}
