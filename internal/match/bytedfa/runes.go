package bytedfa

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
)

// runeTable returns the minimal table of prog over the classes of abc. It
// accepts, with 1, the texts that prog matches; prog is anchored at both ends.
//
// A state is the set of instructions that prog may stand at, none of which
// goes on without the next rune: it reads that rune, or asserts something
// about it. As an assertion such as \b also looks at the rune before, that
// one's context is part of the state where the set has an assertion.
func runeTable(prog *syntax.Prog, abc *alphabet, b *budget) (table, error) {
	m := &machine{prog: prog, abc: abc, budget: b, seen: make([]bool, len(prog.Inst))}
	m.follow(uint32(prog.Start), undecided)
	start := m.take(edge)
	width := len(abc.member)
	t, err := explore(deadKey, start, width, limit(b.maxStates, width), m.visit)
	if err != nil {
		return table{}, err
	}
	return t.minimal(b.maxStates)
}

// A machine follows all ways through a program at once. A set of instructions
// is collected by calls of follow and then taken.
type machine struct {
	prog   *syntax.Prog
	abc    *alphabet
	budget *budget
	seen   []bool // by instruction, in this collection
	stack  []uint32
	passed []uint32 // all instructions that are seen
	set    []uint32 // those of them at which the program stands
}

// undecided is for assertions where the next rune is not known yet.
const undecided syntax.EmptyOp = 0

// follow collects the instructions at which the program may stand, from pc
// on, if the assertions in holds hold and no others do. With undecided it
// stands at each assertion.
func (m *machine) follow(pc uint32, holds syntax.EmptyOp) {
	m.stack = append(m.stack, pc)
	for len(m.stack) > 0 {
		pc := m.stack[len(m.stack)-1]
		m.stack = m.stack[:len(m.stack)-1]
		if m.seen[pc] {
			continue
		}
		m.seen[pc] = true
		m.passed = append(m.passed, pc)
		switch inst := &m.prog.Inst[pc]; inst.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			m.stack = append(m.stack, inst.Arg, inst.Out)
		case syntax.InstCapture, syntax.InstNop:
			m.stack = append(m.stack, inst.Out)
		case syntax.InstEmptyWidth:
			if holds == undecided {
				m.set = append(m.set, pc)
			} else if syntax.EmptyOp(inst.Arg)&^holds == 0 {
				m.stack = append(m.stack, inst.Out)
			}
		case syntax.InstFail:
		default:
			m.set = append(m.set, pc)
		}
	}
}

// clear begins a new collection.
func (m *machine) clear() {
	for _, pc := range m.passed {
		m.seen[pc] = false
	}
	m.passed, m.set = m.passed[:0], m.set[:0]
}

// deadKey is the key of the state with no instructions.
const deadKey = ""

// take returns the key of the state that is the collected set after a rune
// with the context before, and clears the collection.
func (m *machine) take(before rune) string {
	if len(m.set) == 0 {
		m.clear()
		return deadKey
	}
	slices.Sort(m.set)
	if !slices.ContainsFunc(m.set, m.asserts) {
		before = other
	}
	key := appendUint32(make([]byte, 0, 4+4*len(m.set)), uint32(before))
	for _, pc := range m.set {
		key = appendUint32(key, pc)
	}
	m.clear()
	return string(key)
}

func (m *machine) asserts(pc uint32) bool {
	return m.prog.Inst[pc].Op == syntax.InstEmptyWidth
}

// visit writes the keys of the states that follow that of key, by class.
func (m *machine) visit(key string, next []string) (accept uint16, err error) {
	if key == deadKey {
		clear(next)
		return 0, nil
	}
	before := rune(binary.LittleEndian.Uint32([]byte(key)))
	var set []uint32
	for i := 4; i < len(key); i += 4 {
		set = append(set, binary.LittleEndian.Uint32([]byte(key[i:])))
	}
	for _, after := range []rune{newline, word, other} {
		ready := m.resolve(set, before, after)
		for c, context := range m.abc.context {
			if context != after {
				continue
			}
			for _, pc := range ready {
				if inst := &m.prog.Inst[pc]; takes(inst, m.abc.member[c]) {
					m.follow(inst.Out, undecided)
				}
			}
			if err := m.budget.spend(len(ready) + len(m.passed)); err != nil {
				return 0, err
			}
			next[c] = m.take(after)
		}
	}
	for _, pc := range m.resolve(set, before, edge) {
		if m.prog.Inst[pc].Op == syntax.InstMatch {
			accept = 1
		}
	}
	return accept, nil
}

// resolve returns where the program stands, of set, when the contexts on both
// sides are known.
func (m *machine) resolve(set []uint32, before, after rune) []uint32 {
	if !slices.ContainsFunc(set, m.asserts) {
		return set
	}
	holds := syntax.EmptyOpContext(before, after)
	for _, pc := range set {
		m.follow(pc, holds)
	}
	ready := slices.Clone(m.set)
	m.clear()
	return ready
}

func appendUint32(b []byte, v uint32) []byte {
	return binary.LittleEndian.AppendUint32(b, v)
}
