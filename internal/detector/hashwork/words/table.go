package words

import (
	_ "embed" // for words.bin
	"sync"

	"github.com/cryptnono/cryptnono/internal/detector/hashwork/words/packed"
	"github.com/cryptnono/cryptnono/internal/scrambled"
)

// The groups of words.bin.
const (
	protocol  = 'p'
	algorithm = 'a'
	constant  = 'c'
)

// window is the length in bytes of the part of a spelling that the search looks for first:
// that of the shortest spelling.
const window = 6

//go:embed words.bin
var list []byte

// A table is what Wu and Manber use to search for many words at once ("A fast algorithm
// for multi-pattern searching", TR-94-17, University of Arizona, 1994), with blocks of two
// bytes. Of each spelling it has one window of six bytes, and not always the first, so that
// the last blocks of all windows differ where they can: twelve words begin with "mining".
//
// It is not changed after it was built.
type table struct {
	words []packed.Word
	// shift is, for a block, how far the search may go on if the text has this block: the
	// distance between its last place in any window and the end of the window.
	shift [1 << 16]uint8
	// ending is, for a block with shift 0, the place in anchors of those whose window ends
	// with it.
	ending  [1 << 16]uint16
	anchors [][]anchor
}

// An anchor is the window of one spelling.
type anchor struct {
	begin    uint16 // first block of the window, the quickest test
	word     int    // number of the word
	offset   int    // of the window in the spelling
	spelling []byte // scrambled
}

// at reports whether text begins with the spelling.
func (a *anchor) at(text []byte) bool {
	if len(text) < len(a.spelling) {
		return false
	}
	for i, c := range a.spelling {
		if text[i]^scrambled.Key(i) != c {
			return false
		}
	}
	return true
}

// sharedTable returns the table of words.bin, which is built at the first call.
var sharedTable = sync.OnceValue(func() *table { //nolint:gochecknoglobals // not changed
	words, err := packed.Unpack(list)
	if err != nil {
		panic("words.bin: " + err.Error()) // it is part of the program, and a test reads it
	}
	return newTable(words)
})

func newTable(words []packed.Word) *table {
	t := &table{words: words, anchors: make([][]anchor, 1)}
	for i := range t.shift {
		t.shift[i] = window - 1
	}
	for n, w := range words {
		for _, spelling := range w.Spellings {
			t.add(n, spelling)
		}
	}
	return t
}

// add puts a spelling into the table, with the window whose last block has the fewest
// other anchors.
func (t *table) add(word int, spelling []byte) {
	plain := scrambled.Bytes(spelling)
	best, least := 0, -1
	for offset := range len(plain) - window + 1 {
		n := len(t.anchors[t.ending[blockAt(plain, offset+window-2)]])
		if least < 0 || n < least {
			best, least = offset, n
		}
	}
	for i := range window - 1 {
		b := blockAt(plain, best+i)
		t.shift[b] = min(t.shift[b], uint8(window-2-i))
	}
	last := blockAt(plain, best+window-2)
	if t.ending[last] == 0 {
		t.ending[last] = uint16(len(t.anchors))
		t.anchors = append(t.anchors, nil)
	}
	e := &t.anchors[t.ending[last]]
	*e = append(*e, anchor{blockAt(plain, best), word, best, spelling})
}

func blockAt(text []byte, i int) uint16 { return uint16(text[i]) | uint16(text[i+1])<<8 }
