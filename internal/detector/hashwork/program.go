package hashwork

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/hashwork/words"
	"github.com/cryptnono/cryptnono/internal/printable"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
)

// A hit is a file or an image that was searched, with the words of miners in it.
type hit struct {
	counts words.Counts
	file   *procread.Mapping // nil for an image
	id     procread.FileID   // of file, as it was searched
	share  float64           // of the samples that lie in it or in anonymous memory
}

// A foundFile is a file with the words of a miner.
type foundFile struct {
	id   procread.FileID // as it was searched
	path string
}

func (m *hit) found() *foundFile {
	if m.file == nil {
		return nil
	}
	return &foundFile{m.id, m.file.Path}
}

// evidence returns the fields of the log line. docs/hashwork.md lists the keys.
func (m *hit) evidence(j job) slog.Value {
	of := "process"
	if j.byGroup {
		of = "cgroup"
	}
	return slog.GroupValue(
		slog.String("of", of),
		slog.Int("samples", len(j.instructions)),
		slog.String("file", m.path()),
		slog.Float64("share", math.Round(m.share*1000)/1000),
		slog.Int("protocol_words", m.counts.Protocol),
		slog.Int("algorithm_words", m.counts.Algorithm),
		slog.Int("constants", m.counts.Constant),
	)
}

// path returns the file as it is shown.
func (m *hit) path() string {
	if m.file == nil {
		return "(memory)"
	}
	return printable.Text([]byte(m.file.Path), maxPath)
}

// closer returns the one that is nearer to a miner. m may be nil.
func (m *hit) closer(other *hit) *hit {
	if m == nil || m.counts.Compare(other.counts) < 0 {
		return other
	}
	return m
}

// maxPath bounds the path of a file in the log, in bytes.
const maxPath = 1024

const (
	// maxFiles bounds the files of a process that an examination considers: a process can map 65,000.
	maxFiles = 64
	// inTurn of these are others each time, if there are more: so none is left out for ever.
	inTurn = 16
)

// chosen returns the files that an examination considers. The first ones are always the same: those with
// samples, then the largest.
func chosen(files []*mappedFile, state *state) []*mappedFile {
	state.filesFrom = state.filesDone
	if len(files) <= maxFiles {
		return files
	}
	const always = maxFiles - inTurn
	others := files[always:] // more than inTurn
	all := slices.Clone(files[:always])
	for range inTurn {
		all = append(all, others[state.filesDone%len(others)])
		state.filesDone++
	}
	return all
}

// program searches what the process executes for the words of a miner, if most of the samples lie
// there, until one matches the rule of that name, or ctx ends. With always, it searches the first of its
// files in any case. It returns what matches or is nearest to that, nil if nothing was searched. What
// cannot be read is skipped; the error says so.
func (e *examiner) program(ctx context.Context, h *process.Handle, j job, in *space, files []*mappedFile, always bool) (*hit, error) {
	least := j.policy.settings.Program.MinShare
	var closest *hit
	var errs []error
	due := make([]*mappedFile, 0, len(files))
	for i, f := range files {
		if f.share >= least || always && i == 0 && f.samples > 0 {
			due = append(due, f)
		}
	}
	for _, f := range chosen(due, j.state) {
		if ctx.Err() != nil {
			return closest, errors.Join(append(errs, fmt.Errorf("%w: %w", procread.ErrStuck, ctx.Err()))...)
		}
		counts, id, err := e.search(ctx, h, j, f)
		errs = append(errs, err)
		if err != nil && !counts.Miner() {
			continue
		}
		m := &hit{counts, &f.mapping, id, f.share}
		if counts.Miner() {
			return m, nil
		}
		closest = closest.closer(m)
	}
	if share := in.share(in.anonymous); share >= least && j.state.imageDue(j.samples) {
		counts, err := e.searchImage(ctx, h, j, in.image())
		if err != nil {
			return closest, errors.Join(append(errs, err)...)
		}
		j.state.imageSearched(j.samples)
		m := &hit{counts, nil, procread.FileID{}, share}
		if counts.Miner() {
			return m, nil
		}
		closest = closest.closer(m)
	}
	return closest, errors.Join(errs...)
}

// space returns the address space of a process with its samples.
func (e *examiner) space(ctx context.Context, h *process.Handle, j job) (*space, error) {
	in := new(space)
	if err := j.credit.list(func() error {
		err := e.reader.Mappings(ctx, h, j.owner, in.add)
		if errors.Is(err, errTooMany) || errors.Is(err, procread.ErrTruncated) {
			return nil
		}
		return err
	}); err != nil {
		return nil, err
	}
	in.place(j.instructions)
	return in, nil
}

// errNoCredit means that the owner has computed too little for a search of this size.
var errNoCredit = errors.New("deferred, because too much was read for this cgroup")

// search returns the words in what is mapped of a file, and which file was searched. If the file
// cannot be read in time, it searches what is in memory of it, and returns an error too, and no file:
// the process may have changed its memory.
func (e *examiner) search(ctx context.Context, h *process.Handle, j job, f *mappedFile) (words.Counts, procread.FileID, error) {
	counts, id, err := e.searchFile(ctx, h, j, f)
	if errors.Is(err, procread.ErrStuck) && ctx.Err() == nil {
		counts, more := e.searchImage(ctx, h, j, f.memory)
		return counts, procread.FileID{}, errors.Join(err, more)
	}
	return counts, id, err
}

func (e *examiner) searchFile(ctx context.Context, h *process.Handle, j job, f *mappedFile) (words.Counts, procread.FileID, error) {
	if !j.credit.spend(identityBytes) {
		return words.Counts{}, procread.FileID{}, errNoCredit
	}
	id, err := e.reader.MappedFile(ctx, h, j.owner, f.mapping, nil, nil)
	if err != nil {
		return words.Counts{}, id, err
	}
	k := newKnownKey(j.owner, id, f.ranges)
	if counts, ok := e.known.get(k); ok {
		return counts, id, nil
	}
	if !j.credit.spend(size(f.ranges)) {
		return words.Counts{}, id, errNoCredit
	}
	found := finder{search: words.NewSearch()}
	if k.file, err = e.reader.MappedFile(ctx, h, j.owner, f.mapping, f.ranges, found.add); err != nil {
		return words.Counts{}, id, err
	}
	counts := found.search.Counts()
	if isSettled(k.file, time.Now()) {
		e.known.put(k, counts)
	}
	return counts, k.file, nil
}

// settleTime is the time after a change of a file in which another change may not be seen in its
// times: until its pages are written to the disk (vm.dirty_expire_centisecs), and some more.
const settleTime = time.Minute

// isSettled reports whether any later change of a file gives it another identity.
func isSettled(f procread.FileID, now time.Time) bool {
	return !f.Volatile && max(f.Changed, f.Modified) < now.Add(-settleTime).UnixNano()
}

// searchImage returns the words in memory.
func (e *examiner) searchImage(ctx context.Context, h *process.Handle, j job, ranges []procread.Range) (words.Counts, error) {
	if !j.credit.spend(size(ranges)) {
		return words.Counts{}, errNoCredit
	}
	found := finder{search: words.NewSearch()}
	err := e.reader.Memory(ctx, h, j.owner, ranges, found.add)
	return found.search.Counts(), err
}

// A finder searches pieces of a file or of memory.
type finder struct {
	search *words.Search
	end    uint64 // of the piece before
}

func (f *finder) add(offset uint64, data []byte) error {
	if offset != f.end {
		f.search.Break()
	}
	f.end = offset + uint64(len(data))
	_, err := f.search.Write(data)
	return err
}

func size(ranges []procread.Range) (bytes uint64) {
	for _, r := range ranges {
		bytes += r.End - r.Start
	}
	return bytes
}
