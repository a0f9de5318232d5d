package hashwork

import (
	"cmp"
	"context"
	"errors"
	"math"
	"strings"

	"github.com/cryptnono/cryptnono/internal/detector/hashwork/scratchpad"
	"github.com/cryptnono/cryptnono/internal/detector/hashwork/words"
	"github.com/cryptnono/cryptnono/internal/printable"
	"github.com/cryptnono/cryptnono/internal/process"
)

// A look is what an examination sees of a process, whether a rule matches or not. What could not
// be read, or has too few samples, is nil. docs/cli.md lists the keys.
type look struct {
	Samples    int         `json:"samples"` // by which it is assigned to files
	Anonymous  *float64    `json:"anonymous_share,omitempty"`
	Hottest    *hottest    `json:"hottest,omitempty"`
	Moved      *moved      `json:"moved,omitempty"`
	Words      *wordsFound `json:"words,omitempty"`
	Scratchpad *walked     `json:"scratchpad,omitempty"`
}

// A hottest file is the one with the most samples.
type hottest struct {
	File    string  `json:"file"`
	Share   float64 `json:"share"`
	Deleted bool    `json:"deleted,omitempty"`
	Memfd   bool    `json:"memfd,omitempty"`
	// Writable: all may write to a directory above it.
	Writable bool `json:"writable_place,omitempty"`
}

// moved is what a process has exchanged since its start: see procread.Activity.
type moved struct {
	Read        uint64 `json:"read_bytes"`
	Written     uint64 `json:"written_bytes"`
	Connections uint32 `json:"connections"`
	More        bool   `json:"more_connections,omitempty"`
	Network     uint64 `json:"network_bytes"` // of its network namespace, 0 in that of the host
	HostNetwork bool   `json:"host_network,omitempty"`
	// ReadNow and WrittenNow are of the last interval.
	ReadNow    *uint64 `json:"read_bytes_interval,omitempty"`
	WrittenNow *uint64 `json:"written_bytes_interval,omitempty"`
}

// wordsFound are the words for the rule program.
type wordsFound struct {
	File      string  `json:"file"` // with the most words
	Share     float64 `json:"share"`
	Protocol  int     `json:"protocol_words"`
	Algorithm int     `json:"algorithm_words"`
	Constants int     `json:"constants"`
}

// walked is the evidence for the rule scratchpad.
type walked struct {
	Samples int     `json:"samples"`
	Walks   float64 `json:"walks"`
	Alone   float64 `json:"alone"`
	AES     float64 `json:"aes"`
}

// look looks at a process without acting on it. before is the previous look, or nil: words that
// were found then count too, since memory is not searched each time. An error says what could
// not be read.
func (e *examiner) look(ctx context.Context, h *process.Handle, j job, before *look) (look, error) {
	l := look{Samples: len(j.instructions)}
	if before != nil {
		l.Words = before.Words
	}
	var errs []error
	path := ""
	in, err := e.space(ctx, h, j)
	if err == nil {
		l.Anonymous = share(in.share(in.anonymous))
		files := in.files()
		if len(files) > 0 && files[0].samples > 0 {
			path = files[0].mapping.Path
			l.Hottest = newHottest(in, files[0])
		}
		errs = append(errs, e.lookForWords(ctx, h, j, in, files, &l))
	}
	errs = append(errs, err)
	if a, err := e.reader.Activity(ctx, h, j.owner.String(), path); err == nil {
		l.Moved = &moved{Read: a.Read, Written: a.Written, Connections: a.Connections, More: a.More, Network: a.Network, HostNetwork: a.HostNetwork}
		if before != nil && before.Moved != nil {
			l.Moved.ReadNow, l.Moved.WrittenNow = since(a.Read, before.Moved.Read), since(a.Written, before.Moved.Written)
		}
		if l.Hottest != nil {
			l.Hottest.Writable = a.Writable && !l.Hottest.Memfd
		}
	} else {
		errs = append(errs, err)
	}
	if j.registers.Len() >= scratchpad.MinSamples {
		f, err := e.scratchpad(ctx, h, j)
		if err == nil {
			l.Scratchpad = &walked{f.Samples, *share(f.Walks), *share(f.Alone), *share(f.AES)}
		}
		errs = append(errs, err)
	}
	return l, errors.Join(errs...)
}

// lookForWords searches the hottest file and what the rule program searches.
func (e *examiner) lookForWords(ctx context.Context, h *process.Handle, j job, in *space, files []*mappedFile, l *look) error {
	least := j.policy.settings.Program.MinShare
	var errs []error
	for i, f := range files {
		if f.share < least && (i > 0 || f.samples == 0) {
			continue
		}
		counts, _, err := e.search(ctx, h, j, f)
		if err == nil || counts.Miner() {
			l.found(counts, f.mapping.Path, f.share)
		}
		errs = append(errs, err)
	}
	if anonymous := in.share(in.anonymous); anonymous >= least && j.state.imageDue(j.samples) {
		counts, err := e.searchImage(ctx, h, j, in.image())
		if err == nil {
			j.state.imageSearched(j.samples)
			l.found(counts, "(memory)", anonymous)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// found takes the words of a file, if it has more than those before.
func (l *look) found(c words.Counts, path string, of float64) {
	w := &wordsFound{printable.Text([]byte(path), maxPath), *share(of), c.Protocol, c.Algorithm, c.Constant}
	if l.Words == nil || w.compare(l.Words) > 0 || w.File == l.Words.File {
		l.Words = w
	}
}

// miner reports whether the rule program matches.
func (w *wordsFound) miner() bool {
	return words.Counts{Protocol: w.Protocol, Algorithm: w.Algorithm, Constant: w.Constants}.Miner()
}

// compare compares how near the thresholds are.
func (w *wordsFound) compare(other *wordsFound) int {
	near := func(w *wordsFound) int {
		rest := max(min(w.Algorithm*words.MinConstant, words.MinAlgorithm*words.MinConstant), min(w.Constants*words.MinAlgorithm, words.MinAlgorithm*words.MinConstant))
		return min(w.Protocol, words.MinProtocol)*words.MinAlgorithm + rest
	}
	return cmp.Or(cmp.Compare(near(w), near(other)), cmp.Compare(w.Protocol, other.Protocol))
}

func newHottest(in *space, f *mappedFile) *hottest {
	memfd := strings.HasPrefix(f.mapping.Path, "/memfd:")
	return &hottest{
		File: printable.Text([]byte(f.mapping.Path), maxPath), Share: *share(in.share(f.samples)),
		Memfd: memfd, Deleted: !memfd && strings.HasSuffix(f.mapping.Path, " (deleted)"),
	}
}

// since returns how much a counter of a process has grown.
func since(now, before uint64) *uint64 { return new(now - min(before, now)) }

// share rounds a share.
func share(x float64) *float64 { return new(math.Round(x*1000) / 1000) }
