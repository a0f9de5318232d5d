package match

import "github.com/cryptnono/cryptnono/internal/rules"

// The automaton does not read bytes but symbols. A symbol is one byte:
//
//   - of a word character [A-Za-z0-9_] that begins a word, the upper-case letter
//     (or, for digits and "_", a value that no valid UTF-8 holds);
//   - of any other byte itself, with A-Z folded to a-z;
//   - edge, which stands before and after a program's name.
//
// With the beginnings of words in the text, half of the word rule is plain
// string matching. The other half, that no word character follows, is Found's.
const edge = 0

// invalid is the symbol of all bytes that valid UTF-8, so any rule, never holds.
const invalid = 0xff

// A class is what the walkers know of a byte: its symbol inside a word (bits
// 0-7) and at the beginning of one (bits 8-15), and by how many bits the class
// of the next byte must be shifted to get its symbol (bits 16-23): 0 after a
// word character, 8 after anything else.
type class uint32

func (c class) symbol(shift uint8) byte { return byte(c >> shift) }
func (c class) shift() uint8            { return uint8(c >> 16) }
func (c class) isWord() bool            { return c.shift() == 0 }

// between is the shift after anything but a word character.
const between = 8

func newClass(inside, beginning byte, shift uint8) class {
	return class(inside) | class(beginning)<<8 | class(shift)<<16
}

// edgeClass is the class of an edge.
const edgeClass = class(edge) | edge<<8 | between<<16

// Classes returns what the kernel's walker wants to know of each byte, in its form
// (tables.bpf.h): first that of text, where NUL separates arguments as a space would, then
// as many edges.
func (m *Matcher) Classes() (t [512]uint32) {
	for i := range t {
		c := classOf(byte(i))
		if i >= 256 {
			c = edgeClass
		}
		for _, shift := range []uint8{between, 0} {
			sym := c.symbol(shift)
			misses := ^m.Filter.Places[sym] & (1<<maxPrefix - 1)
			t[i] = t[i]<<16 | uint32(misses)<<8 | uint32(sym)
			if !c.isWord() {
				t[i] |= 1 << 15
			}
		}
	}
	return t
}

func classOf(b byte) class {
	switch {
	case b >= 'a' && b <= 'z':
		return newClass(b, b-'a'+'A', 0)
	case b >= 'A' && b <= 'Z':
		return newClass(b-'A'+'a', b, 0)
	case b >= '0' && b <= '8':
		return newClass(b, b-'0'+0xf5, 0)
	case b == '9':
		return newClass(b, 0xc0, 0)
	case b == '_':
		return newClass(b, 0xc1, 0)
	case b == 0:
		return newClass(' ', ' ', between)
	case b == 0xc0, b == 0xc1, b >= 0xf5:
		return newClass(invalid, invalid, between)
	}
	return newClass(b, b, between)
}

// symbols returns the symbols of text whose first byte has the given shift.
func symbols(text string, shift uint8) []byte {
	out := make([]byte, len(text))
	for i := range len(text) {
		c := classOf(text[i])
		out[i] = c.symbol(shift)
		shift = c.shift()
	}
	return out
}

// phrases returns the strings of symbols that a ban looks for.
func phrases(b rules.Ban) [][]byte {
	first := classOf(b.Text[0])
	begun := symbols(b.Text, between)
	switch {
	case b.Kind == rules.Program:
		name := append(begun, edge)
		return [][]byte{
			append([]byte{'/'}, name...),  // the last element of a path
			append([]byte{edge}, name...), // or all of it
		}
	case b.Kind == rules.Substring && first.isWord():
		return [][]byte{begun, symbols(b.Text, first.shift())}
	}
	return [][]byte{begun}
}

// mustEnd reports whether no word character may follow the ban.
func mustEnd(b rules.Ban) bool {
	return b.Kind == rules.Word && classOf(b.Text[len(b.Text)-1]).isWord()
}
