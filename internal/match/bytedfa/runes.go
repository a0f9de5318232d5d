package bytedfa

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
)

// runeTable returns the minimal table of prog over the classes of abc, by subset
// construction. It accepts, with 1, the texts that prog matches; prog is anchored at both
// ends.
//
// A state is a set of instructions that depend on the next rune: each reads it or is an
// assertion about it. An assertion such as \b also depends on the previous rune, so a
// state with an assertion includes the context of that rune.
func (x *explorer) runeTable(prog *syntax.Prog, abc *alphabet, b *budget) (table, error) {
	m := newMachine(prog, abc, b)
	dead := m.takeKey(edge) // of the state with no instructions
	m.addClosure(uint32(prog.Start), unknown)
	start := m.takeKey(edge)
	width := len(abc.member)
	t, err := x.explore(dead, start, width, limit(b.maxStates, width), m.visit)
	if err != nil {
		return table{}, err
	}
	return t.minimal(b.maxStates)
}

// A machine simulates all paths through a program at once. Calls of addClosure collect a set
// of instructions, and takeKey or clear ends the collection.
type machine struct {
	prog   *syntax.Prog
	abc    *alphabet
	budget *budget
	seen   []bool // by instruction
	stack  []uint32
	passed []uint32 // all instructions that are seen
	set    []uint32 // those of them that depend on the next rune
	pool   *pool
	list   []byte // for pool
}

func newMachine(prog *syntax.Prog, abc *alphabet, b *budget) *machine {
	return &machine{prog: prog, abc: abc, budget: b, seen: make([]bool, len(prog.Inst)), pool: newPool()}
}

// unknown, as the assertions that hold, means that the next rune is not known yet.
const unknown syntax.EmptyOp = 0

// addClosure adds the instructions that are reached from pc without reading a rune if
// exactly the assertions in holds hold. With unknown it also adds the assertions and does
// not pass them.
func (m *machine) addClosure(pc uint32, holds syntax.EmptyOp) {
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
			if holds == unknown {
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

func (m *machine) clear() {
	for _, pc := range m.passed {
		m.seen[pc] = false
	}
	m.passed, m.set = m.passed[:0], m.set[:0]
}

// takeKey returns the key of the state with the collected set after a rune of context
// before, and clears the collection. It is the number of a list in pool: the context and the set.
func (m *machine) takeKey(before rune) uint64 {
	if !slices.ContainsFunc(m.set, m.asserts) {
		before = other
	}
	return uint64(m.take(uint32(before)))
}

// take returns the number of the list of first and the collected set, sorted. It clears the
// collection.
func (m *machine) take(first ...uint32) uint32 {
	slices.Sort(m.set)
	m.list = m.list[:0]
	for _, v := range first {
		m.list = appendUint32(m.list, v)
	}
	for _, pc := range m.set {
		m.list = appendUint32(m.list, pc)
	}
	m.clear()
	number, _ := m.pool.number(m.list)
	return number
}

func (m *machine) asserts(pc uint32) bool {
	return m.prog.Inst[pc].Op == syntax.InstEmptyWidth
}

// visit writes the keys of the successors of key, by class, to next.
func (m *machine) visit(key uint64, next []uint64) (accept uint16, err error) {
	list := slices.Collect(m.pool.list(uint32(key)))
	before, set := rune(list[0]), list[1:]
	for _, after := range []rune{newline, word, other} {
		ready := m.resolve(set, before, after)
		for c, context := range m.abc.context {
			if context != after {
				continue
			}
			for _, pc := range ready {
				if inst := &m.prog.Inst[pc]; matches(inst, m.abc.member[c]) {
					m.addClosure(inst.Out, unknown)
				}
			}
			if err := m.budget.spend(len(ready) + len(m.passed)); err != nil {
				return 0, err
			}
			next[c] = m.takeKey(after)
		}
	}
	for _, pc := range m.resolve(set, before, edge) {
		if m.prog.Inst[pc].Op == syntax.InstMatch {
			accept = 1
		}
	}
	return accept, nil
}

// resolve returns set with each assertion replaced by the instructions behind it if it holds
// between the two contexts, and removed if not.
func (m *machine) resolve(set []uint32, before, after rune) []uint32 {
	if !slices.ContainsFunc(set, m.asserts) {
		return set
	}
	holds := syntax.EmptyOpContext(before, after)
	for _, pc := range set {
		m.addClosure(pc, holds)
	}
	ready := slices.Clone(m.set)
	m.clear()
	return ready
}

func appendUint32(b []byte, v uint32) []byte {
	return binary.LittleEndian.AppendUint32(b, v)
}
