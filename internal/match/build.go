package match

import (
	"bytes"
	"errors"
	"slices"
)

// maxCells bounds the automaton. A cell has 16 bytes here and as many in the kernel, and
// while rules are replaced the old ones and the new ones are there: 336 MB of the 512 MiB
// that the chart gives the agent. 200,000 ban strings of 20 bytes take about 4 million.
const maxCells = 5 << 20

// symbolCount is the number of symbols. As many cells stay unused at the beginning, since
// not every symbol can lead there: a state with one successor fits each other free cell.
const symbolCount = 256

// builder lays out the cells of an automaton. The free ones are linked in the
// order of their numbers: Base is the next, Fail the one before, 0 none.
type builder struct {
	Automaton
	firstFree, lastFree uint32
}

func buildAutomaton(phrases []phrase) (Automaton, error) {
	phrases = unique(phrases)
	states := countStates(phrases)
	if states > maxCells {
		return Automaton{}, errTooLarge
	}
	b := &builder{Automaton: Automaton{Found: make([]Found, 1), Prefix: maxPrefix}}
	for _, p := range phrases {
		b.Prefix = min(b.Prefix, len(p.text))
	}
	b.Filter = buildFilter(phrases, b.Prefix)
	b.Cells = make([]Cell, symbolCount, min(states+2*symbolCount, maxCells))
	for i := range b.Cells {
		b.Cells[i].Check = free
	}
	b.Cells[idle].Check = free - 1
	if err := b.layOut(idle, 0, phrases); err != nil {
		return Automaton{}, err
	}
	b.link(phrases)
	return b.Automaton, nil
}

// unique sorts the phrases and makes one of those that are alike. What was first
// in the list is found first.
func unique(phrases []phrase) []phrase {
	slices.SortStableFunc(phrases, func(a, b phrase) int { return bytes.Compare(a.text, b.text) })
	kept := phrases[:0]
	for _, p := range phrases {
		if n := len(kept); n > 0 && bytes.Equal(kept[n-1].text, p.text) {
			kept[n-1].found = kept[n-1].found.or(p.found)
			continue
		}
		kept = append(kept, p)
	}
	return kept
}

// errTooLarge says that an automaton has more than maxCells.
var errTooLarge = errors.New("too many states")

// countStates returns the number of states for sorted phrases: the free cells among them,
// of which there are few, come on top.
func countStates(phrases []phrase) int {
	states, last := 1, []byte(nil)
	for _, p := range phrases {
		common := 0
		for common < min(len(last), len(p.text)) && last[common] == p.text[common] {
			common++
		}
		states += len(p.text) - common
		last = p.text
	}
	return states
}

// layOut gives a state its successors, and those theirs. The phrases are those
// that begin with the state, whose length is depth. Depth first, so that the
// states along a phrase lie side by side in memory.
func (b *builder) layOut(state uint32, depth int, phrases []phrase) error {
	if len(phrases) > 0 && len(phrases[0].text) == depth {
		phrases = phrases[1:]
	}
	var buf [256]byte
	syms := buf[:0]
	for i, p := range phrases {
		if i == 0 || p.text[depth] != phrases[i-1].text[depth] {
			syms = append(syms, p.text[depth])
		}
	}
	if len(syms) == 0 {
		return nil
	}
	base, err := b.place(syms)
	if err != nil {
		return err
	}
	b.Cells[state].Base = base
	for _, sym := range syms {
		b.take(base+uint32(sym), state)
	}
	for _, sym := range syms {
		n := 1
		for n < len(phrases) && phrases[n].text[depth] == sym {
			n++
		}
		if err := b.layOut(base+uint32(sym), depth+1, phrases[:n]); err != nil {
			return err
		}
		phrases = phrases[n:]
	}
	return nil
}

// link sets what each state fails to and what is found in it. Breadth first:
// that of all shorter states is known.
func (b *builder) link(phrases []phrase) {
	states := make([]uint32, len(phrases)) // to which each phrase has come
	longer := make([]int, len(phrases))    // the phrases that go on
	for i := range longer {
		longer[i] = i
	}
	for depth := 1; len(longer) > 0; depth++ {
		last := uint32(idle)
		rest := longer[:0]
		for _, i := range longer {
			text := phrases[i].text[:depth]
			before := states[i]
			states[i], _ = b.follow(before, text[depth-1])
			c := &b.Cells[states[i]]
			if states[i] != last && depth > b.Prefix {
				c.Fail = b.failure(before, text)
				c.Found = b.Cells[c.Fail].Found
			}
			last = states[i]
			if depth < len(phrases[i].text) {
				rest = append(rest, i)
				continue
			}
			b.Found = append(b.Found, phrases[i].found.or(b.Found[c.Found]))
			c.Found = uint32(len(b.Found) - 1)
		}
		longer = rest
	}
}

// failure returns what the state of text fails to; before is the state before
// it.
func (b *builder) failure(before uint32, text []byte) uint32 {
	sym := text[len(text)-1]
	for s := b.Cells[before].Fail; s != idle; s = b.Cells[s].Fail {
		if next, ok := b.follow(s, sym); ok {
			return next
		}
	}
	// As the walkers enter.
	if w := window(text[len(text)-b.Prefix:]); b.Filter.has(w) {
		return b.begin(w)
	}
	return idle
}

// place returns a base at which the cells of all syms are free.
func (b *builder) place(syms []byte) (uint32, error) {
	// Trying the first free cells only keeps the time linear; most states
	// have one successor and fit anywhere.
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

// take makes a free cell a state behind the state before, and the cells up to it
// exist.
func (b *builder) take(cell, before uint32) {
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
	b.Cells[cell] = Cell{Check: before}
}

// nextFree is where the free cell behind a free one, or the first, is noted.
func (b *builder) nextFree(cell uint32) *uint32 {
	if cell == 0 {
		return &b.firstFree
	}
	return &b.Cells[cell].Base
}
