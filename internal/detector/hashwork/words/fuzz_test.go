package words

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cryptnono/cryptnono/internal/detector/hashwork/words/packed"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// naive searches for each spelling in all content between two breaks.
func naive(spellings []plainSpelling, pieces [][]byte) (found []string, c Counts) {
	last := -1
	for _, p := range spellings {
		in := func(piece []byte) bool { return bytes.Contains(piece, p.text) }
		if p.word != last && slices.ContainsFunc(pieces, in) {
			last = p.word
			found = append(found, p.name)
			o := one(p.group)
			c.Protocol, c.Algorithm, c.Constant = c.Protocol+o.Protocol, c.Algorithm+o.Algorithm, c.Constant+o.Constant
		}
	}
	return found, c
}

// play carries out a script of three bytes a step, and compares the search with the naive
// one.
func play(t *testing.T, table *table, spellings []plainSpelling, script []byte) {
	t.Helper()
	s := newSearch(table)
	pieces := [][]byte{nil}
	var pending []byte
	flush := func() {
		if n, err := s.Write(pending); n != len(pending) || err != nil {
			t.Fatalf("Write returned %d, %v", n, err)
		}
		last := &pieces[len(pieces)-1]
		*last = append(*last, pending...)
		pending = pending[:0]
	}
	for ; len(script) >= 3; script = script[3:] {
		a, b := int(script[1]), int(script[2])
		text := spellings[(a|b<<8)%len(spellings)].text
		switch script[0] % 8 {
		case 0, 1:
			pending = append(pending, text...)
		case 2:
			pending = append(pending, text[:b%len(text)]...)
		case 3:
			pending = append(pending, text[b%len(text):]...)
		case 4:
			pending = append(pending, bytes.Repeat([]byte{script[1]}, b)...)
		case 5:
			pending = append(pending, script[1:3]...)
		case 6: // the first part of a word in this write, the rest in the next
			pending = append(pending, text[:b%len(text)]...)
			flush()
			pending = append(pending, text[b%len(text):]...)
		case 7:
			flush()
			if a%2 == 0 {
				s.Break()
				pieces = append(pieces, nil)
			}
		}
	}
	flush()
	found, counts := naive(spellings, pieces)
	if s.Counts() != counts || !slices.Equal(s.Found(), found) {
		t.Fatalf("found %+v %q, and not %+v %q, in %q", s.Counts(), s.Found(), counts, found, pieces)
	}
}

func TestRandomContentIsSearchedLikeWithBytesContains(t *testing.T) {
	spellings := plainSpellings(t)
	rng := rand.New(rand.NewPCG(1, 1))
	for range testutil.Thorough(20000) {
		script := make([]byte, 3*rng.IntN(12))
		for i := range script {
			script[i] = byte(rng.Uint32())
		}
		play(t, sharedTable(), spellings, script)
	}
}

// Lists of long words that share much, and contain each other, are searched as well: so the
// search is right for each list that may come.
func TestAnyListIsSearchedLikeWithBytesContains(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	text := func(shortest, longest int) []byte {
		text := make([]byte, shortest+rng.IntN(longest-shortest+1))
		for i := range text {
			text[i] = "ab"[rng.IntN(2)]
		}
		return text
	}
	for range testutil.Thorough(2000) {
		var words []packed.Word
		for n := range 1 + rng.IntN(20) {
			w := packed.Word{Group: "pac"[rng.IntN(3)], Name: []byte{byte('A' + n)}}
			for range 1 + rng.IntN(3) {
				w.Spellings = append(w.Spellings, text(window, packed.MaxSpelling))
			}
			words = append(words, w)
		}
		words, err := packed.Unpack(packed.Pack(words))
		if err != nil {
			t.Fatal(err)
		}
		table, spellings := newTable(words), plain(words)
		for range 10 {
			script := text(0, 36)
			for i := range script {
				script[i] = byte(rng.Uint32())
			}
			play(t, table, spellings, script)
		}
	}
}

func FuzzSearch(f *testing.F) {
	spellings := plainSpellings(f)
	f.Add([]byte("\x06\x00\x05\x07\x01\x00\x00\x03\x00"))
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 300 {
			return
		}
		play(t, sharedTable(), spellings, script)
	})
}
