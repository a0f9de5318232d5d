package match

import (
	"math/bits"

	"github.com/cryptnono/cryptnono/internal/rules"
)

// The automaton reads symbols instead of bytes. A symbol is one byte:
//
//   - for a word character [A-Za-z0-9_] at the start of a word, the upper-case letter
//     (or, for digits and "_", a value that valid UTF-8 never contains);
//   - for any other byte the byte itself, with A-Z folded to a-z;
//   - boundary, before and after the name of a program.
//
// Since word starts have symbols of their own, half of the word rule is plain string
// matching. The other half, that no word character follows, is in Output.
const boundary = 0

// invalid is the symbol of all bytes that valid UTF-8, and so any rule, never contains.
const invalid = 0xff

// A class has the symbol of a byte inside a word (bits 0-7) and at the start of a word (bits
// 8-15), and the number of bits by which the class of the next byte must be shifted to get
// its symbol (bits 16-23): 0 after a word character, wordStart after any other.
type class uint32

func (c class) symbol(shift uint8) byte { return byte(c >> shift) }
func (c class) shift() uint8            { return uint8(c >> 16) }
func (c class) isWord() bool            { return c.shift() == 0 }

const wordStart = 8

// rotated is by how many bits each symbol is rotated to the left. Then the five that tell letters from one
// another are the high ones: see pair.
const rotated = 3

func newClass(inside, start byte, shift uint8) class {
	return class(bits.RotateLeft8(inside, rotated)) | class(bits.RotateLeft8(start, rotated))<<8 | class(shift)<<16
}

const boundaryClass = class(boundary) | boundary<<8 | wordStart<<16

// Classes returns the classes in the format of the kernel program, which tables.bpf.h of
// execwhacker defines: 256 for the bytes of a text, in which NUL separates arguments as a
// space does, and 256 that are all of boundary.
func Classes() (t [512]uint32) {
	for i := range t {
		c := classOf(byte(i))
		if i >= 256 {
			c = boundaryClass
		}
		for _, shift := range []uint8{wordStart, 0} {
			t[i] = t[i]<<16 | uint32(c.symbol(shift))
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
		return newClass(' ', ' ', wordStart)
	case b == 0xc0, b == 0xc1, b >= 0xf5:
		return newClass(invalid, invalid, wordStart)
	}
	return newClass(b, b, wordStart)
}

// symbols returns the symbols of text, with the given shift for its first byte.
func symbols(text string, shift uint8) []byte {
	out := make([]byte, len(text))
	for i := range len(text) {
		c := classOf(text[i])
		out[i] = c.symbol(shift)
		shift = c.shift()
	}
	return out
}

// keywordTexts returns the strings of symbols that a ban matches.
func keywordTexts(b rules.Ban) [][]byte {
	switch b.Kind {
	case rules.Program:
		name := append(symbols(b.Text, wordStart), boundary)
		if b.IsOpen() {
			name = name[:len(b.Text)-1]
		}
		return [][]byte{
			append(symbols("/", wordStart), name...), // the last element of a path
			append([]byte{boundary}, name...),        // or all of it
		}
	case rules.Substring:
		return substringTexts(b.Text)
	}
	return [][]byte{symbols(b.Text, wordStart)}
}

// substringTexts returns the strings of symbols of a text that can begin inside a word.
func substringTexts(text string) [][]byte {
	all := [][]byte{symbols(text, wordStart)}
	if first := classOf(text[0]); first.isWord() {
		all = append(all, symbols(text, first.shift()))
	}
	return all
}

// mustEndWord reports whether no word character may follow the ban.
func mustEndWord(b rules.Ban) bool {
	return b.Kind == rules.Word && classOf(b.Text[len(b.Text)-1]).isWord()
}
