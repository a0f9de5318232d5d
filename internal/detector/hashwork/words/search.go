package words

import (
	"slices"

	"github.com/cryptnono/cryptnono/internal/detector/hashwork/words/packed"
	"github.com/cryptnono/cryptnono/internal/scrambled"
)

// A Search counts the words of one file, which is written to it. It has a size of a few
// hundred bytes, whatever is written. It is not for concurrent use.
type Search struct {
	table  *table
	found  []bool // by number of the word
	counts Counts

	// joint has the last bytes written, at most packed.MaxSpelling-1, so that a word is
	// found that begins in one write and ends in another. It has room for as many of the
	// next write.
	joint []byte
}

// NewSearch returns a search that has found nothing yet.
func NewSearch() *Search { return newSearch(sharedTable()) }

func newSearch(t *table) *Search {
	return &Search{
		table: t,
		found: make([]bool, len(t.words)),
		joint: make([]byte, 0, 2*(packed.MaxSpelling-1)),
	}
}

// Write searches p, which continues what was written before. It always returns len(p) and
// no error, and does not retain p. Each write also costs the search of up to 62 bytes, so
// it is best to write kilobytes at a time.
func (s *Search) Write(p []byte) (int, error) {
	const keep = packed.MaxSpelling - 1
	if len(s.joint) > 0 {
		s.joint = append(s.joint, p[:min(len(p), keep)]...)
		s.search(s.joint)
	}
	s.search(p)
	if len(p) > keep {
		s.joint = append(s.joint[:0], p[len(p)-keep:]...)
	} else {
		if len(s.joint) == 0 {
			s.joint = append(s.joint, p...)
		}
		s.joint = slices.Delete(s.joint, 0, max(0, len(s.joint)-keep))
	}
	return len(p), nil
}

// Break says that the next bytes written do not continue the former ones: no word is found
// that would begin before and end after.
func (s *Search) Break() { s.joint = s.joint[:0] }

// Counts returns what was found so far.
func (s *Search) Counts() Counts { return s.counts }

// Found returns the names of the words found so far, in the order of words.txt. These are
// plain words: they are for a log of all details, and to keep them in memory makes the
// memory of the agent look like a miner's.
func (s *Search) Found() []string {
	var names []string
	for n, found := range s.found {
		if found {
			names = append(names, string(scrambled.Bytes(s.table.words[n].Name)))
		}
	}
	return names
}

// search notes all words that are in text as a whole.
func (s *Search) search(text []byte) {
	t := s.table
	for i := window - 1; i < len(text); {
		block := blockAt(text, i-1)
		if n := t.shift[block]; n != 0 {
			i += int(n)
			continue
		}
		begin := blockAt(text, i+1-window)
		anchors := t.anchors[t.ending[block]]
		for k := range anchors {
			a := &anchors[k]
			if a.begin != begin || s.found[a.word] {
				continue
			}
			if start := i + 1 - window - a.offset; start >= 0 && a.at(text[start:]) {
				s.note(a.word)
			}
		}
		i++
	}
}

func (s *Search) note(word int) {
	s.found[word] = true
	switch s.table.words[word].Group {
	case protocol:
		s.counts.Protocol++
	case algorithm:
		s.counts.Algorithm++
	case constant:
		s.counts.Constant++
	}
}
