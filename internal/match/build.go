package match

import (
	"bytes"
	"errors"
	"slices"
)

// maxCells bounds the automaton. A cell takes 16 bytes in the agent and 16 in the kernel, and
// during a reload the old and the new automaton exist: 336 MB of the 512 MiB memory limit in
// the chart. 200,000 ban strings of 20 bytes take about 4 million cells.
const maxCells = 5 << 20

// symbolCount is the number of symbols. The first symbolCount cells are not used, so that
// the base of a state with one child is never negative, whatever the symbol and the free cell.
const symbolCount = 256

// A builder lays out the cells of an automaton. The free cells are a list in ascending
// order: Base is the next one, Fail the previous one, 0 is none.
type builder struct {
	Automaton
	firstFree, lastFree uint32
}

func buildAutomaton(keywords []keyword) (Automaton, error) {
	keywords = unique(keywords)
	states := countStates(keywords)
	if states > maxCells {
		return Automaton{}, errTooLarge
	}
	b := &builder{Automaton: Automaton{Entries: make([]Entry, 1), Prefix: maxPrefix}}
	for _, k := range keywords {
		b.Prefix = min(b.Prefix, len(k.text))
	}
	b.Filter = buildFilter(keywords, b.Prefix)
	b.Cells = make([]Cell, symbolCount, min(states+2*symbolCount, maxCells))
	for i := range b.Cells {
		b.Cells[i].Check = free
	}
	b.Cells[root].Check = free - 1
	if err := b.layOut(root, 0, keywords); err != nil {
		return Automaton{}, err
	}
	b.link(keywords)
	return b.Automaton, nil
}

// unique sorts the keywords and merges equal ones.
func unique(keywords []keyword) []keyword {
	slices.SortStableFunc(keywords, func(a, b keyword) int { return bytes.Compare(a.text, b.text) })
	kept := keywords[:0]
	for _, k := range keywords {
		if n := len(kept); n > 0 && bytes.Equal(kept[n-1].text, k.text) {
			kept[n-1].entries = merged(kept[n-1].entries, k.entries)
			continue
		}
		kept = append(kept, k)
	}
	return kept
}

// merged returns the entries of a, and those of b with flags that are not in a.
func merged(a, b []Entry) []Entry {
	all := slices.Clip(a)
	for _, e := range b {
		if !slices.ContainsFunc(a, func(other Entry) bool { return other.Flags == e.Flags }) {
			all = append(all, e)
		}
	}
	return all
}

// errTooLarge is returned for an automaton of more than maxCells.
var errTooLarge = errors.New("too many states")

// countStates returns the number of states for sorted keywords. The automaton has some more
// cells, which are free.
func countStates(keywords []keyword) int {
	states, last := 1, []byte(nil)
	for _, k := range keywords {
		common := 0
		for common < min(len(last), len(k.text)) && last[common] == k.text[common] {
			common++
		}
		states += len(k.text) - common
		last = k.text
	}
	return states
}

// layOut places the descendants of a state. The keywords are those that begin with the
// state, which is depth symbols long. It goes depth first, so that the states of a keyword
// are close to each other in memory.
func (b *builder) layOut(state uint32, depth int, keywords []keyword) error {
	if len(keywords) > 0 && len(keywords[0].text) == depth {
		keywords = keywords[1:]
	}
	var buf [256]byte
	syms := buf[:0]
	for i, k := range keywords {
		if i == 0 || k.text[depth] != keywords[i-1].text[depth] {
			syms = append(syms, k.text[depth])
		}
	}
	if len(syms) == 0 {
		return nil
	}
	base, err := b.findBase(syms)
	if err != nil {
		return err
	}
	b.Cells[state].Base = base
	for _, sym := range syms {
		b.addState(base+uint32(sym), state)
	}
	for _, sym := range syms {
		n := 1
		for n < len(keywords) && keywords[n].text[depth] == sym {
			n++
		}
		if err := b.layOut(base+uint32(sym), depth+1, keywords[:n]); err != nil {
			return err
		}
		keywords = keywords[n:]
	}
	return nil
}

// link sets failure links and entries. It goes breadth first, because both depend on those
// of shorter states.
func (b *builder) link(keywords []keyword) {
	states := make([]uint32, len(keywords)) // state of each keyword at the current depth
	longer := make([]int, len(keywords))    // indexes of the keywords longer than that
	for i := range longer {
		longer[i] = i
	}
	for depth := 1; len(longer) > 0; depth++ {
		last := uint32(root)
		rest := longer[:0]
		for _, i := range longer {
			text := keywords[i].text[:depth]
			parent := states[i]
			states[i], _ = b.child(parent, text[depth-1])
			c := &b.Cells[states[i]]
			if states[i] != last && depth > b.Prefix {
				c.Fail = b.failure(parent, text)
				c.Entry = b.Cells[c.Fail].Entry
			}
			last = states[i]
			if depth < len(keywords[i].text) {
				rest = append(rest, i)
				continue
			}
			c.Entry = b.addEntries(keywords[i].entries, c.Entry)
		}
		longer = rest
	}
}

// addEntries returns the list of own, and of the entries of the list at rest with other
// flags. It shares the list at rest if it can.
func (b *builder) addEntries(own []Entry, rest uint32) uint32 {
	var others []Entry
	for at := rest; at != 0; at = b.Entries[at].Next {
		others = append(others, b.Entries[at])
	}
	if all := merged(own, others); len(all) < len(own)+len(others) {
		own, rest = all, 0
	}
	for _, e := range slices.Backward(own) {
		e.Next = rest
		rest = uint32(len(b.Entries))
		b.Entries = append(b.Entries, e)
	}
	return rest
}

// failure returns the failure link of the state of text.
func (b *builder) failure(parent uint32, text []byte) uint32 {
	sym := text[len(text)-1]
	for s := b.Cells[parent].Fail; s != root; s = b.Cells[s].Fail {
		if next, ok := b.child(s, sym); ok {
			return next
		}
	}
	// As a search enters the automaton from the root.
	if w := window(text[len(text)-b.Prefix:]); b.Filter.mayContain(w) {
		return b.enter(w)
	}
	return root
}

// findBase returns a base at which the cells of all syms are free.
func (b *builder) findBase(syms []byte) (uint32, error) {
	// A bounded number of tries keeps the time linear. Most states have one child, which
	// fits in any free cell.
	const tries = 64
	first := uint32(syms[0])
	at := b.firstFree
	for range tries {
		if at == 0 {
			break
		}
		if b.fits(at-first, syms) {
			return at - first, nil
		}
		at = b.Cells[at].Base
	}
	base := len(b.Cells)
	if base+symbolCount > maxCells {
		return 0, errTooLarge
	}
	return uint32(base), nil
}

func (b *builder) fits(base uint32, syms []byte) bool {
	for _, sym := range syms {
		if i := int(base) + int(sym); i < len(b.Cells) && b.Cells[i].Check != free {
			return false
		}
	}
	return true
}

// addState makes a free cell a state with the given parent. It adds the cells up to it if
// they do not exist yet.
func (b *builder) addState(cell, parent uint32) {
	for i := uint32(len(b.Cells)); i <= cell; i++ {
		b.Cells = append(b.Cells, Cell{Check: free, Fail: b.lastFree})
		*b.nextFree(b.lastFree) = i
		b.lastFree = i
	}
	prev, next := b.Cells[cell].Fail, b.Cells[cell].Base
	*b.nextFree(prev) = next
	if next != 0 {
		b.Cells[next].Fail = prev
	} else {
		b.lastFree = prev
	}
	b.Cells[cell] = Cell{Check: parent}
}

// nextFree returns a pointer to the link behind a free cell; that of 0 is to the first.
func (b *builder) nextFree(cell uint32) *uint32 {
	if cell == 0 {
		return &b.firstFree
	}
	return &b.Cells[cell].Base
}
