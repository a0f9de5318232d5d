package hashwork

import (
	"context"
	"errors"
	"math"

	"github.com/cryptnono/cryptnono/internal/detector/hashwork/scratchpad"
	"github.com/cryptnono/cryptnono/internal/detector/hashwork/words"
	"github.com/cryptnono/cryptnono/internal/printable"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
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
	File  string  `json:"file"` // that is nearest to a miner
	Share float64 `json:"share"`
	words.Counts
}

// walked is the evidence for the rules scratchpad, unmasked and memoryHard.
type walked struct {
	Samples    int     `json:"samples"`
	Walks      float64 `json:"walks"`
	Alone      float64 `json:"alone"`
	AES        float64 `json:"aes"`
	EvenWalks  float64 `json:"even_walks"`
	Multiplies float64 `json:"multiplies"`
	Argon2     float64 `json:"argon2"`
	// Faults are page faults in a second of CPU time: see state.faultRate.
	Faults *float64 `json:"faults,omitempty"`
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
		found, err := e.program(ctx, h, j, in, files, true)
		if found != nil {
			l.found(found)
		}
		errs = append(errs, err)
	}
	errs = append(errs, err)
	if a, err := e.reader.Activity(ctx, h, j.owner, path); err == nil {
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
			l.Scratchpad = &walked{
				Samples: f.Samples, Walks: *share(f.Walks), Alone: *share(f.Alone), AES: *share(f.AES),
				EvenWalks: *share(f.EvenWalks), Multiplies: *share(f.Multiplies), Argon2: *share(f.Argon2),
			}
			if rate, err := j.state.faultRate(j.key.PID); err == nil {
				l.Scratchpad.Faults = share(rate)
			}
		}
		errs = append(errs, err)
	}
	return l, errors.Join(errs...)
}

// found takes the words that were found, if they are nearer to a miner than those before.
func (l *look) found(m *hit) {
	w := &wordsFound{m.path(), *share(m.share), m.counts}
	if l.Words == nil || w.Compare(l.Words.Counts) > 0 || w.File == l.Words.File {
		l.Words = w
	}
}

func newHottest(in *space, f *mappedFile) *hottest {
	return &hottest{
		File: printable.Text([]byte(f.mapping.Path), maxPath), Share: *share(in.share(f.samples)),
		Memfd: procread.IsMemfd(f.mapping.Path), Deleted: procread.IsDeleted(f.mapping.Path),
	}
}

// since returns how much a counter of a process has grown.
func since(now, before uint64) *uint64 { return new(now - min(before, now)) }

// share rounds a share.
func share(x float64) *float64 { return new(math.Round(x*1000) / 1000) }
