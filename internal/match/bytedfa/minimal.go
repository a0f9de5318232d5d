package bytedfa

import (
	"cmp"
	"slices"
)

// minimal returns the smallest table that accepts the same texts, or ErrTooLarge if it has
// more than maxStates states.
func (t table) minimal(maxStates int) (table, error) {
	block := t.equivalence()
	member := make([]int, len(block)) // by block: one of its states
	for s, b := range block {
		member[b] = s
	}
	return new(explorer).explore(uint64(block[Dead]), uint64(block[Start]), t.width, maxStates,
		func(b uint64, next []uint64) (uint16, error) {
			s := member[b]
			for c, to := range t.next[s*t.width : (s+1)*t.width] {
				next[c] = uint64(block[to])
			}
			return t.accept[s], nil
		})
}

// equivalence returns the equivalence class (block) of each state: two states share one if
// and only if the same texts are accepted from them. This is Hopcroft's algorithm (1971):
// n states cost n·log n steps for each symbol.
func (t table) equivalence() []uint32 {
	p := newPartition(t.accept)
	head, sources := t.inverse()
	// Each block is a splitter once: on each symbol, the states that lead into it are
	// separated from those that do not. When a block is split, the larger part need not
	// become a splitter: the whole block and the smaller part separate the same states.
	work := make([]uint32, len(p.blocks))
	for b := range work {
		work[b] = uint32(b)
	}
	var splitter []uint32
	for len(work) > 0 {
		b := p.blocks[work[len(work)-1]]
		work = work[:len(work)-1]
		splitter = append(splitter[:0], p.order[b.begin:b.end]...)
		for c := range t.width {
			for _, s := range splitter {
				i := int(s)*t.width + c
				for _, source := range sources[head[i]:head[i+1]] {
					p.mark(source)
				}
			}
			work = p.split(work)
		}
	}
	return p.block
}

// inverse returns the states that lead to s on symbol c as
// sources[head[s*width+c]:head[s*width+c+1]].
func (t table) inverse() (head, sources []uint32) {
	head = make([]uint32, len(t.next)+1)
	for s := range t.accept {
		for c, to := range t.next[s*t.width : (s+1)*t.width] {
			head[int(to)*t.width+c]++
		}
	}
	for i := 1; i < len(head); i++ {
		head[i] += head[i-1]
	}
	// Each head is now the end of its part, and is decremented to the start.
	sources = make([]uint32, len(t.next))
	for s := range t.accept {
		for c, to := range t.next[s*t.width : (s+1)*t.width] {
			h := &head[int(to)*t.width+c]
			*h--
			sources[*h] = uint32(s)
		}
	}
	return head, sources
}

// A partition is a division of states into blocks.
type partition struct {
	order  []uint32 // the states, block by block
	place  []uint32 // by state: its index in order
	block  []uint32 // by state: its index in blocks
	blocks []block
	marked []uint32 // indexes of the blocks with marked states
}

// A block is order[begin:end]; order[begin:marks] are marked.
type block struct{ begin, marks, end uint32 }

// newPartition returns a block for each value of accept.
func newPartition(accept []uint16) *partition {
	n := len(accept)
	p := &partition{
		order: make([]uint32, n),
		place: make([]uint32, n),
		block: make([]uint32, n),
	}
	for s := range p.order {
		p.order[s] = uint32(s)
	}
	slices.SortFunc(p.order, func(a, b uint32) int {
		return cmp.Or(cmp.Compare(accept[a], accept[b]), cmp.Compare(a, b))
	})
	for i, s := range p.order {
		if i == 0 || accept[s] != accept[p.order[i-1]] {
			p.blocks = append(p.blocks, block{begin: uint32(i), marks: uint32(i)})
		}
		b := len(p.blocks) - 1
		p.blocks[b].end = uint32(i + 1)
		p.place[s], p.block[s] = uint32(i), uint32(b)
	}
	return p
}

// mark marks s, which must not be marked.
func (p *partition) mark(s uint32) {
	b := &p.blocks[p.block[s]]
	if b.marks == b.begin {
		p.marked = append(p.marked, p.block[s])
	}
	i, j := p.place[s], b.marks
	other := p.order[j]
	p.order[i], p.order[j] = other, s
	p.place[other], p.place[s] = i, j
	b.marks++
}

// split separates the marked states of each block from the others and clears the marks. The
// smaller part becomes a new block, which it appends to created.
func (p *partition) split(created []uint32) []uint32 {
	for _, id := range p.marked {
		b := &p.blocks[id]
		begin, marks, end := b.begin, b.marks, b.end
		b.marks = begin
		if marks == end {
			continue
		}
		part := block{begin, begin, marks}
		if marks-begin <= end-marks {
			b.begin, b.marks = marks, marks
		} else {
			part = block{marks, marks, end}
			b.end = marks
		}
		fresh := uint32(len(p.blocks))
		for _, s := range p.order[part.begin:part.end] {
			p.block[s] = fresh
		}
		p.blocks = append(p.blocks, part)
		created = append(created, fresh)
	}
	p.marked = p.marked[:0]
	return created
}
