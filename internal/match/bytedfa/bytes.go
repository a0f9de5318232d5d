package bytedfa

import (
	"math"
	"unicode/utf8"
)

// byteTable returns the minimal table that accepts a text of bytes if and only if runes
// accepts the runes that Go decodes it to. It also returns the class of each byte.
//
// Go decodes each byte that is not part of a valid UTF-8 sequence to U+FFFD. Whether the
// first byte of a sequence is such a byte is only known up to three bytes later, and a DFA
// cannot go back. So a state of the table has two parts:
//
//   - invalid is the state of runes if the pending bytes are not a valid sequence: each was
//     one U+FFFD.
//   - rest has the bytes that may continue the pending sequence, and for the last byte the
//     state of runes after the rune that the sequence encodes.
//
// A byte that is in rest advances both: it is one more U+FFFD for invalid, until the
// sequence is complete and invalid is dropped. After any other byte, or at the end of the
// text, the sequence is broken and invalid is the right state. These are all cases: the
// bytes after the first are continuation bytes, none of which can begin a sequence, so a
// break makes all of them invalid, and the byte that breaks may begin the next sequence.
func (x *explorer) byteTable(runes table, abc *alphabet, b *budget) (classes [256]uint8, t table, err error) {
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
	t, err = x.explore(pending{Dead, none}.key(), pending{Start, none}.key(), width, limit(b.maxStates, width), d.visit)
	if err == nil {
		t, err = t.minimal(b.maxStates)
	}
	return classes, t, err
}

// byteClasses divides bytes into classes of bytes that are equivalent in each position of a
// sequence. It also returns one byte of each class.
func byteClasses(abc *alphabet) (classes [256]uint8, members []byte) {
	var cuts [257]bool
	// The kinds of first bytes, and the limits of the second bytes that would make an
	// overlong form, a surrogate or a rune beyond the last.
	for _, b := range []byte{0, 0x80, 0x90, 0xA0, 0xC0, 0xC2, 0xE0, 0xE1, 0xED, 0xEE, 0xF0, 0xF1, 0xF4, 0xF5} {
		cuts[b] = true
	}
	for _, r := range abc.starts {
		for _, b := range utf8.AppendRune(nil, r) {
			cuts[b] = true
			if r >= utf8.RuneSelf {
				// The rest of the sequence may make the rune less or greater than r.
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

// pending is a state of the byte table.
type pending struct {
	invalid uint32 // state of the rune table
	rest    uint32 // index of a tree, or none if no sequence is pending
}

func (p pending) key() uint64 { return uint64(p.invalid)<<32 | uint64(p.rest) }

// A tree has the valid continuations of a sequence.
type tree struct {
	children []uint32 // by byte class: indexes of trees, or none for a byte that breaks the sequence
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
	ids    map[string]uint32   // indexes of trees, by content
	same   map[leaves]uint32   // indexes of trees whose leaves are all equal
	firsts map[string][]uint32 // results of first, by spans
	known  [][]uint32          // results of first, by state of runes
}

// leaves identify a tree whose leaves are all equal.
type leaves struct {
	state uint32
	left  int // continuation bytes
}

// visit writes the keys of the successors of a state, by byte class, to next.
func (d *decoder) visit(key uint64, next []uint64) (accept uint16, err error) {
	p := pending{uint32(key >> 32), uint32(key)}
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
			next[c] = pending{child, none}.key()
		case child != none:
			next[c] = pending{invalid, child}.key()
		case b < utf8.RuneSelf:
			next[c] = pending{d.after(p.invalid, rune(b)), none}.key()
		default:
			next[c] = pending{invalid, first[c]}.key()
		}
	}
	return d.runes.accept[p.invalid], d.budget.spend(len(next))
}

// after returns the state of the rune table that follows s on r.
func (d *decoder) after(s uint32, r rune) uint32 {
	return d.runes.next[int(s)*d.runes.width+d.abc.classOf(r)]
}

// A span has the runes from start to the start of the next span. All of them lead to the
// same state.
type span struct {
	start rune
	state uint32
}

// first returns the trees after the first byte of a sequence in state s of the rune table,
// by class of that byte. States that differ in ASCII only, which many do, share them.
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

// tree returns the tree for the last left bytes of the sequences of size bytes that encode lo
// and the runes after it; if left is 0, the state that lo leads to. It returns none if no such
// sequence is valid: overlong forms, surrogates, runes beyond the last.
func (d *decoder) tree(spans []span, lo rune, left, size int) (uint32, error) {
	hi := lo + 1<<(6*left) - 1
	// A range is valid, invalid, or valid at one end only: those of the first bytes E0, ED,
	// F0 and F4.
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
		return none, ErrTooLarge // since each tree is the rest of at least one state
	}
	return id, d.budget.spend(len(children))
}

// share returns the index of t, the same for equal trees.
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
