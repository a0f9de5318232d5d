package words

import (
	"bytes"
	"slices"
	"testing"

	"github.com/cryptnono/cryptnono/internal/detector/hashwork/words/packed"
	"github.com/cryptnono/cryptnono/internal/scrambled"
)

// plainSpelling is one spelling of the list, readable.
type plainSpelling struct {
	word  int
	name  string
	group byte
	text  []byte
}

func plainSpellings(t testing.TB) []plainSpelling {
	t.Helper()
	words, err := packed.Unpack(list)
	if err != nil {
		t.Fatal(err)
	}
	return plain(words)
}

func plain(words []packed.Word) (all []plainSpelling) {
	for n, w := range words {
		for _, s := range w.Spellings {
			all = append(all, plainSpelling{n, string(scrambled.Bytes(w.Name)), w.Group, scrambled.Bytes(s)})
		}
	}
	return all
}

func count(parts ...[]byte) *Search {
	s := NewSearch()
	for _, p := range parts {
		_, _ = s.Write(p)
	}
	return s
}

func one(group byte) (c Counts) {
	switch group {
	case protocol:
		c.Protocol = 1
	case algorithm:
		c.Algorithm = 1
	case constant:
		c.Constant = 1
	}
	return c
}

func TestAMinerHasWordsOfPoolsAndOfHashes(t *testing.T) {
	for _, c := range []struct {
		name string
		Counts
		want bool
	}{
		{"nothing", Counts{}, false},
		{"only words of pools, as a node or a wallet", Counts{3, 1, 3}, false},
		{"only names of hashes, as a program that computes them", Counts{3, 40, 17}, false},
		{"pools and two names", Counts{4, 2, 0}, true},
		{"pools and four constants", Counts{4, 0, 4}, true},
		{"pools and one name", Counts{7, 1, 3}, false},
		{"much of pools, as a miner of one hash", Counts{8, 0, 0}, true},
	} {
		if got := c.Miner(); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// A text in which only one spelling occurs counts as this word, and as no other: so no word
// is contained in another.
func TestEachSpellingIsFoundAloneWhereverItIs(t *testing.T) {
	around := bytes.Repeat([]byte("."), 500)
	for _, p := range plainSpellings(t) {
		for name, content := range map[string][]byte{
			"alone":            p.text,
			"at the beginning": slices.Concat(p.text, around),
			"at the end":       slices.Concat(around, p.text),
			"in the middle":    slices.Concat(around, p.text, around),
			"twice":            slices.Concat(p.text, around, p.text),
		} {
			s := count(content)
			if s.Counts() != one(p.group) || !slices.Equal(s.Found(), []string{p.name}) {
				t.Errorf("%q %s: %+v %q", p.text, name, s.Counts(), s.Found())
			}
		}
	}
}

func TestAWordMayBeginInOneWriteAndEndInAnother(t *testing.T) {
	around := bytes.Repeat([]byte("."), 200)
	for _, p := range plainSpellings(t) {
		for i := 1; i < len(p.text); i++ {
			a, b := p.text[:i], p.text[i:]
			if s := count(around, a, b, around); s.Counts() != one(p.group) {
				t.Errorf("%q divided after %d bytes: %+v", p.text, i, s.Counts())
			}
			if s := count(slices.Concat(around, a), nil, slices.Concat(b, around)); s.Counts() != one(p.group) {
				t.Errorf("%q divided after %d bytes, in long writes: %+v", p.text, i, s.Counts())
			}
			s := NewSearch()
			_, _ = s.Write(slices.Concat(around, a))
			s.Break()
			_, _ = s.Write(slices.Concat(b, around))
			if s.Counts() != (Counts{}) {
				t.Errorf("%q with a break after %d bytes: %+v %q", p.text, i, s.Counts(), s.Found())
			}
		}
		s := NewSearch()
		for i := range p.text {
			_, _ = s.Write(p.text[i : i+1])
		}
		if s.Counts() != one(p.group) {
			t.Errorf("%q byte by byte: %+v", p.text, s.Counts())
		}
	}
}

func TestTheLongestSpellingMayBeDividedIntoManyWrites(t *testing.T) {
	text := make([]byte, packed.MaxSpelling)
	for i := range text {
		text[i] = byte('A' + i)
	}
	words := []packed.Word{{Group: protocol, Name: []byte("A"), Spellings: [][]byte{scrambled.Bytes(text)}}}
	for size := 1; size < len(text); size++ {
		s := newSearch(newTable(words))
		for p := slices.Concat(bytes.Repeat([]byte("."), 100), text); len(p) > 0; p = p[min(len(p), size):] {
			_, _ = s.Write(p[:min(len(p), size)])
		}
		if s.Counts() != one(protocol) {
			t.Errorf("in writes of %d bytes: %+v", size, s.Counts())
		}
	}
}

func TestTheListIsFitForTheSearch(t *testing.T) {
	for _, p := range plainSpellings(t) {
		if len(p.text) < window || len(p.text) > packed.MaxSpelling {
			t.Errorf("%q has %d bytes", p.text, len(p.text))
		}
		if bytes.Contains(p.text, []byte{0, 0}) {
			t.Errorf("%q has two zero bytes, so empty pages take long", p.text)
		}
		if one(p.group) == (Counts{}) {
			t.Errorf("%q is of group %q", p.text, p.group)
		}
	}
	if n := sharedTable().shift[0]; n != window-1 {
		t.Errorf("a search of zero bytes advances by %d", n)
	}
}

// A file can be written to take long. This is how long: the windows that end with the same
// two bytes, and for each place in the file the bytes of words that are compared there.
func TestTheWorstContentIsBounded(t *testing.T) {
	const mostAnchors, mostBytes = 10, 40
	for _, bucket := range sharedTable().anchors {
		if len(bucket) > mostAnchors {
			t.Errorf("%d windows end with the same bytes, of at most %d", len(bucket), mostAnchors)
		}
		for _, a := range bucket {
			text := scrambled.Bytes(a.spelling)
			if n := compared(bucket, text, a.offset); n > mostBytes {
				t.Errorf("%q costs %d comparisons, of at most %d", text, n, mostBytes)
			}
		}
	}
}

// Scanners search for the words of miners in plain, and combined with one byte by exclusive
// or. Neither is in the packed list, not even a part of a word.
func TestNoScannerFindsTheWordsInTheList(t *testing.T) {
	const part = 5
	for _, p := range plainSpellings(t) {
		for i := range len(p.text) - part + 1 {
			for key := range 256 {
				changed := bytes.Clone(p.text[i : i+part])
				for k := range changed {
					changed[k] ^= byte(key)
				}
				if bytes.Contains(list, changed) {
					t.Errorf("the list contains %q, combined with %#x", p.text[i:i+part], key)
				}
			}
		}
	}
}

func TestTheNearestCountsAreGreatest(t *testing.T) {
	near := []Counts{ // each is nearer than the one before
		{}, {Algorithm: 1}, {Protocol: 1, Algorithm: 1}, {Protocol: 2, Algorithm: 30}, {Protocol: 3, Constant: 4}, {Protocol: 4, Algorithm: 2}, {Protocol: 8}, {Protocol: 9, Algorithm: 2},
	}
	for i := range near[1:] {
		if near[i+1].Compare(near[i]) <= 0 || near[i].Compare(near[i+1]) >= 0 {
			t.Errorf("%+v is not nearer than %+v", near[i+1], near[i])
		}
	}
}
