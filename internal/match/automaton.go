package match

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
)

// maxCells bounds the automaton: 16 bytes a cell, in the kernel and while it
// is built. 200,000 ban strings of 20 bytes take about 6 million.
const maxCells = 1 << 24

// A Cell is one state of the automaton, in the layout that the kernel reads.
//
// The states form an Aho-Corasick automaton kept as a double array (Aoe, "An
// Efficient Digital Search Algorithm by Using a Double-Array Structure", 1989):
// the state behind state s and symbol c is cell Base[s]+c if the Check of that
// cell is s.
type Cell struct {
	Base  uint32
	Check uint32 // the state before this one, or free
	Fail  uint32 // the longest proper suffix that is a state too; idle if shorter than the prefix
	Found uint32 // index of what is found here; 0 is nothing
}

const (
	// idle is the root of the automaton. The walkers never walk through the
	// states next to it: they enter at the depth of the prefix.
	idle = 0
	free = ^uint32(0)
)

// Found holds the bans that end in a state, as 1 + their index in Set.Bans, 0
// for none: of those that kill and of those that observe the first, and the same
// of those that must not be followed by a word character.
type Found struct {
	Kill, Observe         uint32
	WordKill, WordObserve uint32
}

// or fills the gaps of f from g.
func (f Found) or(g Found) Found {
	return Found{
		cmp.Or(f.Kill, g.Kill), cmp.Or(f.Observe, g.Observe),
		cmp.Or(f.WordKill, g.WordKill), cmp.Or(f.WordObserve, g.WordObserve),
	}
}

// A phrase is a string of symbols and what is found where it ends.
type phrase struct {
	text  []byte
	found Found
}

// An automaton finds phrases in a stream of symbols.
type automaton struct {
	cells []Cell
	found []Found
	// prefix is the number of symbols, up to 8, that tell whether to enter
	// the automaton; no phrase is shorter.
	prefix int
}

// builder lays out the cells. Its further slices run beside cells.
type builder struct {
	cells      []Cell
	found      []Found
	depth      []uint16
	next, prev []uint32 // doubly linked list of the free cells, headed by cell 0
}

// node is a state whose successors are still to be laid out: the phrases
// sorted[lo:hi] begin with it.
type node struct{ state, lo, hi uint32 }

func buildAutomaton(phrases []phrase) (*automaton, error) {
	slices.SortStableFunc(phrases, func(a, b phrase) int { return bytes.Compare(a.text, b.text) })
	prefix := 8
	for _, p := range phrases {
		prefix = min(prefix, len(p.text))
	}
	b := &builder{found: make([]Found, 1)}
	b.grow(1)
	b.take(idle, free-1)
	queue := []node{{idle, 0, uint32(len(phrases))}}
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		var err error
		if queue, err = b.expand(n, phrases, queue); err != nil {
			return nil, err
		}
	}
	for i := range b.cells {
		if f := b.cells[i].Fail; int(b.depth[f]) < prefix {
			b.cells[i].Fail = idle
		}
	}
	return &automaton{b.cells, b.found, prefix}, nil
}

// expand gives the state n its successors and appends them to queue. Breadth
// first: all shorter states are complete.
func (b *builder) expand(n node, phrases []phrase, queue []node) ([]node, error) {
	depth := int(b.depth[n.state])
	lo := n.lo
	for lo < n.hi && len(phrases[lo].text) == depth {
		lo++ // ends in n itself
	}
	if lo == n.hi {
		return queue, nil
	}
	var syms []byte
	first := len(queue)
	for at := lo; at < n.hi; {
		sym, start := phrases[at].text[depth], at
		for at < n.hi && phrases[at].text[depth] == sym {
			at++
		}
		syms = append(syms, sym)
		queue = append(queue, node{lo: start, hi: at})
	}
	base, err := b.place(syms)
	if err != nil {
		return nil, err
	}
	b.cells[n.state].Base = base
	for i, sym := range syms {
		child := &queue[first+i]
		child.state = base + uint32(sym)
		b.take(child.state, n.state)
		b.depth[child.state] = uint16(depth + 1)
		c := &b.cells[child.state]
		c.Fail = b.failure(n.state, sym)
		c.Found = b.cells[c.Fail].Found
		var own Found
		for _, p := range phrases[child.lo:child.hi] {
			if len(p.text) > depth+1 {
				break
			}
			own = own.or(p.found)
		}
		if own != (Found{}) {
			b.found = append(b.found, own.or(b.found[c.Found]))
			c.Found = uint32(len(b.found) - 1)
		}
	}
	return queue, nil
}

// failure returns the longest proper suffix, itself a state, of the state
// behind s and sym.
func (b *builder) failure(s uint32, sym byte) uint32 {
	for s != idle {
		s = b.cells[s].Fail
		if t := b.cells[s].Base + uint32(sym); int(t) < len(b.cells) && b.cells[t].Check == s {
			return t
		}
	}
	return idle
}

// place returns a base at which the cells of all syms are free.
func (b *builder) place(syms []byte) (uint32, error) {
	// Trying the first free cells only keeps the time linear; most states
	// have one successor and fit anywhere.
	const tries = 64
	first := uint32(syms[0])
	at := b.next[0]
	for range tries {
		if at == 0 {
			break
		}
		if at >= first && b.fits(at-first, syms) {
			return at - first, nil
		}
		at = b.next[at]
	}
	base := len(b.cells)
	if base+256 > maxCells {
		return 0, fmt.Errorf("the ban strings need more than %d states: use fewer or shorter ones", maxCells)
	}
	return uint32(base), nil
}

func (b *builder) fits(base uint32, syms []byte) bool {
	for _, sym := range syms {
		if i := int(base) + int(sym); i < len(b.cells) && b.cells[i].Check != free {
			return false
		}
	}
	return true
}

// take makes a cell a state behind the state before.
func (b *builder) take(cell, before uint32) {
	if int(cell) >= len(b.cells) {
		b.grow(int(cell) + 1)
	}
	b.cells[cell].Check = before
	if cell != 0 {
		b.next[b.prev[cell]], b.prev[b.next[cell]] = b.next[cell], b.prev[cell]
	}
}

// grow makes room for n cells and lists the new ones as free, in order.
func (b *builder) grow(n int) {
	for i := len(b.cells); i < n; i++ {
		b.cells = append(b.cells, Cell{Check: free})
		b.depth = append(b.depth, 0)
		if i == 0 {
			b.next, b.prev = append(b.next, 0), append(b.prev, 0)
			continue
		}
		last := b.prev[0]
		b.next, b.prev = append(b.next, 0), append(b.prev, last)
		b.next[last], b.prev[0] = uint32(i), uint32(i)
	}
}
