package monero

import (
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
)

// maxFiles is how many files a suspect is remembered to have executed.
const maxFiles = 32

// A version is a file at the time of its last change: of its content, its name or
// its rights (st_ctime). No process can set that time.
type version struct {
	file    uint64
	changed time.Time
}

// files are those that a suspect executed lately.
type files struct {
	seen [maxFiles]version
	next int
}

// renewed reports whether a file has been changed since it was executed last, or
// for a file not executed before, since a time. A file that is compiled once, or
// removed by an upgrade, is renewed once; code that is made for each round and
// written to a file is so in nearly every sample.
func (f *files) renewed(now version, since time.Time) bool {
	for i := range f.seen {
		if f.seen[i].file != now.file {
			continue
		}
		changed := !f.seen[i].changed.Equal(now.changed)
		f.seen[i].changed = now.changed
		return changed
	}
	f.seen[f.next] = now
	f.next = (f.next + 1) % maxFiles
	return now.changed.After(since)
}

// memory says for the rules where a sample's instruction lay.
func (s *suspect) memory(x sample) rounding.Memory {
	switch x.place {
	case bpfPlaceMADE_UP:
		return rounding.AnonymousMemory
	case bpfPlaceCOMPILED:
		if x.file.file != 0 && s.files.renewed(x.file, s.since) {
			return rounding.AnonymousMemory
		}
		return rounding.FileMemory
	}
	return rounding.OtherMemory
}
