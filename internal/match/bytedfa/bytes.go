package bytedfa

import (
	"math"
	"unicode/utf8"
)

// byteTable returns the minimal table that accepts a text of bytes if and
// only if runes accepts what Go decodes it to, and the class of each byte.
//
// Go decodes a byte that begins no valid UTF-8 sequence to U+FFFD, alone.
// Whether the first byte of a sequence is such a byte is only known up to
// three bytes later, and then it is too late to go back. So a state of the
// table goes both ways at once:
//
//   - invalid is the state of runes if none of the bytes that are pending
//     turns out to be part of a valid sequence: each was one U+FFFD.
//   - rest says which bytes may go on with the sequence that is pending, and
//     at the last of them it has the state of runes after the rune which the
//     sequence encodes.
//
// A byte that is in rest goes on with both: it is one more U+FFFD to invalid,
// until the sequence is complete and invalid is given up. Any other byte, and
// the end of the text, breaks the sequence, and invalid is the truth. This
// leaves nothing out: after the first, the bytes of a sequence are
// continuation bytes, none of which can begin a sequence, and so a break
// makes all of them invalid, and the byte that breaks begins afresh.
func byteTable(runes table, abc *alphabet, b *budget) (classes [256]uint8, t table, err error) {
	d := &decoder{
		runes:  runes,
		abc:    abc,
		budget: b,
		ids:    make(map[string]uint32),
		same:   make(map[leaves]uint32),
		firsts: make(map[string][]uint32),
		known:  make([][]uint32, len(runes.accept)),
	}
	classes, d.bytes = byteClasses(abc)
	width := len(d.bytes)
	t, err = explore(pending{Dead, none}, pending{Start, none}, width, limit(b.maxStates, width), d.visit)
	if err == nil {
		t, err = t.minimal(b.maxStates)
	}
	return classes, t, err
}

// byteClasses puts bytes into classes that can mean no difference, wherever
// in a sequence they stand. It also returns one byte of each class.
func byteClasses(abc *alphabet) (classes [256]uint8, members []byte) {
	var cuts [257]bool
	// Where decoding makes a difference: the kinds of first bytes, and the
	// second bytes that overlong forms, surrogates and runes beyond the last
	// would have.
	for _, b := range []byte{0, 0x80, 0x90, 0xA0, 0xC0, 0xC2, 0xE0, 0xE1, 0xED, 0xEE, 0xF0, 0xF1, 0xF4, 0xF5} {
		cuts[b] = true
	}
	for _, r := range abc.starts {
		for _, b := range utf8.AppendRune(nil, r) {
			cuts[b] = true
			if r >= utf8.RuneSelf {
				// What follows in the sequence may be on either side of r.
				cuts[int(b)+1] = true
			}
		}
	}
	for b := range classes {
		if cuts[b] {
			members = append(members, byte(b))
		}
		classes[b] = uint8(len(members) - 1)
	}
	return classes, members
}

// pending is the key of a state of the byte table.
type pending struct {
	invalid uint32 // state of the rune table
	rest    uint32 // tree, or none if no sequence is pending
}

// A tree is what may follow in a sequence, by byte class.
type tree struct {
	children []uint32 // trees, or none for a byte that breaks the sequence
	last     bool     // the children are states of the rune table instead
}

const none = math.MaxUint32

// A decoder makes the byte table.
type decoder struct {
	runes  table
	abc    *alphabet
	budget *budget
	bytes  []byte // one of each class

	trees  []tree
	ids    map[string]uint32   // of trees
	same   map[leaves]uint32   // trees all of whose leaves are alike
	firsts map[string][]uint32 // what first returns, by spans
	known  [][]uint32          // what first returns, by state of runes
}

// leaves are those of a tree that has only one kind of them.
type leaves struct {
	state uint32
	left  int // continuation bytes
}

// visit writes the keys of the states that follow p, by byte class.
func (d *decoder) visit(p pending, next []pending) (accept uint16, err error) {
	first := d.known[p.invalid]
	if first == nil {
		if first, err = d.first(p.invalid); err != nil {
			return 0, err
		}
		d.known[p.invalid] = first
	}
	invalid := d.after(p.invalid, utf8.RuneError)
	for c, b := range d.bytes {
		child := uint32(none)
		if p.rest != none {
			child = d.trees[p.rest].children[c]
		}
		switch {
		case child != none && d.trees[p.rest].last:
			next[c] = pending{child, none}
		case child != none:
			next[c] = pending{invalid, child}
		case b < utf8.RuneSelf:
			next[c] = pending{d.after(p.invalid, rune(b)), none}
		default:
			next[c] = pending{invalid, first[c]}
		}
	}
	return d.runes.accept[p.invalid], d.budget.spend(len(next))
}

// after returns the state of the rune table that follows s on r.
func (d *decoder) after(s uint32, r rune) uint32 {
	return d.runes.next[int(s)*d.runes.width+d.abc.of(r)]
}

// A span is the runes from start to the start of the next span; all of them
// lead to the same state.
type span struct {
	start rune
	state uint32
}

// first returns the trees that the first bytes of sequences begin, by byte
// class, when the rune table is in state s. Many states differ in ASCII only
// and share them.
func (d *decoder) first(s uint32) ([]uint32, error) {
	if err := d.budget.spend(len(d.abc.starts)); err != nil {
		return nil, err
	}
	var spans []span
	var key []byte
	for i := d.abc.index(utf8.RuneSelf); i < len(d.abc.starts); i++ {
		start := max(d.abc.starts[i], utf8.RuneSelf)
		state := d.runes.next[int(s)*d.runes.width+d.abc.class[i]]
		if len(spans) == 0 || spans[len(spans)-1].state != state {
			spans = append(spans, span{start, state})
			key = appendUint32(appendUint32(key, uint32(start)), state)
		}
	}
	if trees, known := d.firsts[string(key)]; known {
		return trees, nil
	}
	trees := make([]uint32, len(d.bytes))
	for c, b := range d.bytes {
		trees[c] = none
		var err error
		switch {
		case b < 0xC0:
		case b < 0xE0:
			trees[c], err = d.tree(spans, rune(b&0x1F)<<6, 1, 2)
		case b < 0xF0:
			trees[c], err = d.tree(spans, rune(b&0x0F)<<12, 2, 3)
		case b < 0xF8:
			trees[c], err = d.tree(spans, rune(b&0x07)<<18, 3, 4)
		}
		if err != nil {
			return nil, err
		}
	}
	d.firsts[string(key)] = trees
	return trees, nil
}

// tree returns the tree for the sequences of size bytes, of which left
// continuation bytes are still to come, that encode lo and the runes after
// it; with none left, the state that lo leads to. It returns none if no such
// sequence is valid: overlong forms, surrogates, runes beyond the last.
func (d *decoder) tree(spans []span, lo rune, left, size int) (uint32, error) {
	hi := lo + 1<<(6*left) - 1
	// A range is valid, or it is not, or it is so at one end only, which
	// happens to the ranges of the first bytes E0, ED, F0 and F4.
	begins, ends := utf8.RuneLen(lo) == size, utf8.RuneLen(hi) == size
	if !begins && !ends {
		return none, nil
	}
	for len(spans) > 1 && spans[1].start <= lo {
		spans = spans[1:]
	}
	if left == 0 {
		return spans[0].state, nil
	}
	alike := leaves{spans[0].state, left}
	uniform := begins && ends && (len(spans) == 1 || spans[1].start > hi)
	if id, known := d.same[alike]; uniform && known {
		return id, nil
	}
	children := make([]uint32, len(d.bytes))
	for c, b := range d.bytes {
		children[c] = none
		if b&0xC0 != 0x80 {
			continue
		}
		var err error
		children[c], err = d.tree(spans, lo|rune(b&0x3F)<<(6*(left-1)), left-1, size)
		if err != nil {
			return none, err
		}
	}
	id := d.share(tree{children, left == 1})
	if uniform {
		d.same[alike] = id
	}
	if len(d.trees) > limit(d.budget.maxStates, len(d.bytes)) {
		return none, ErrTooLarge // each tree is the rest of some state
	}
	return id, d.budget.spend(len(children))
}

// share returns the number of t; equal trees have one.
func (d *decoder) share(t tree) uint32 {
	key := make([]byte, 0, 1+4*len(t.children))
	if key = append(key, 0); t.last {
		key[0] = 1
	}
	for _, child := range t.children {
		key = appendUint32(key, child)
	}
	id, known := d.ids[string(key)]
	if !known {
		id = uint32(len(d.trees))
		d.ids[string(key)] = id
		d.trees = append(d.trees, t)
	}
	return id
}
