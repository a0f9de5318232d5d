package monero

import (
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
)

// maxFiles is the number of executed files that are remembered for a suspect.
const maxFiles = 32

// A version is a file and its st_ctime: the time of the last change of its content, name or
// permissions. No process can set that time.
type version struct {
	file    uint64
	changed time.Time
}

// files are the files that a suspect executed most recently.
type files struct {
	recent [maxFiles]version
	next   int
}

// changed reports whether a file has changed since the last sample in it; for a file without
// one, whether it has changed since a time. A file that is compiled once, or removed by an
// upgrade, is reported once. A file to which a miner writes the code of each round is reported
// in nearly every sample.
func (f *files) changed(now version, since time.Time) bool {
	for i := range f.recent {
		if f.recent[i].file != now.file {
			continue
		}
		changed := !f.recent[i].changed.Equal(now.changed)
		f.recent[i].changed = now.changed
		return changed
	}
	f.recent[f.next] = now
	f.next = (f.next + 1) % maxFiles
	return now.changed.After(since)
}

// code returns the kind of code of a sample, for the rules.
func (s *suspect) code(x sample) rounding.Code {
	switch x.code {
	case bpfCodeJIT_CODE:
		return rounding.JITCode
	case bpfCodeFILE_CODE:
		if x.file.file != 0 && s.files.changed(x.file, s.since) {
			return rounding.JITCode
		}
		return rounding.FileCode
	}
	return rounding.UnknownCode
}
