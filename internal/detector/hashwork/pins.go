package hashwork

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/detector/hashwork/learned"
	"github.com/cryptnono/cryptnono/internal/fair"
	"github.com/cryptnono/cryptnono/internal/kernelbtf"
	"github.com/cryptnono/cryptnono/internal/pin"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// keep opens what an earlier agent has pinned, if pins are kept, and makes what the programs of all
// policies use.
func (l *learner) keep(spec *ebpf.CollectionSpec) (err error) {
	l.kept, err = verdict.Keep(l.Pins, 0, verdict.KeepOptions{
		Detector: Name, Object: _LearnedBytes, Types: spec.Types, Counters: verdict.OwnCounters,
		Events: learnedMapLearnedEvents, Entries: []string{learnedProgCheckExec},
	})
	if err != nil {
		return fmt.Errorf("taking over pins: %w", err)
	}
	l.kept.Share(spec.Maps[learnedMapLearnedEvents], spec.Maps[learnedMapCounters])
	options := l.kept.Options()
	options.MapReplacements = make(map[string]*ebpf.Map)
	for _, name := range []string{learnedMapLearnedFiles, learnedMapLearnedCount} { // also of other builds
		m, err := l.kept.Map(spec.Maps[name])
		if err != nil {
			return fmt.Errorf("making the map %s: %w", name, err)
		}
		defer m.Close()
		options.MapReplacements[name] = m
	}
	if err := spec.LoadAndAssign(&l.shared, options); err != nil {
		return fmt.Errorf("loading the programs for learned files: %w", err)
	}
	var about *ebpf.Map
	if l.kept.Unit != nil {
		if about, err = l.kept.Map(aboutMap()); err != nil {
			return fmt.Errorf("making the map of what is known of learned files: %w", err)
		}
	}
	l.files = newLearnedFiles(l.shared.Files, l.shared.Count, about)
	if err := l.files.restore(); err != nil {
		return err
	}
	return l.loadEntry(spec)
}

// loadEntry takes over the pinned entry, or loads one.
func (l *learner) loadEntry(spec *ebpf.CollectionSpec) (err error) {
	if l.entry, err = l.kept.FindEntry(learnedProgCheckExec); l.entry != nil || err != nil {
		return err //nolint:wrapcheck // it says all
	}
	var fresh struct {
		LearnedSlot *ebpf.Map     `ebpf:"learned_slot"`
		CheckExec   *ebpf.Program `ebpf:"check_exec"`
	}
	if err := spec.LoadAndAssign(&fresh, &ebpf.CollectionOptions{Cache: kernelbtf.Cache}); err != nil {
		return fmt.Errorf("loading the entry for learned files: %w", err)
	}
	l.entry = &pin.Entry{Slot: fresh.LearnedSlot, Program: fresh.CheckExec}
	return nil
}

func (l *learner) counters() (verdict.Counters, error) {
	return l.kept.Counters(l.shared.Counters) //nolint:wrapcheck // it says all
}

// endFormers reports the verdicts of former versions that no agent has read, and removes what these
// have pinned.
func (l *learner) endFormers(ctx context.Context) {
	pending := verdict.NewPending(l.Judge, nil)
	defer pending.Wait()
	l.kept.EndFormers(ctx, l.Log, func(_ *pin.Former, record []byte) error { return l.handle(ctx, record, pending) })
}

// late returns when an exec was that is older than the agent, nothing for others.
func (l *learner) late(e learnedExec) []slog.Attr {
	if e.began >= l.began {
		return nil
	}
	return []slog.Attr{slog.Time("at", time.Now().Add(e.began-process.Monotonic()))}
}

// A keptFile is what is kept of a learned file for the next agent, as JSON, which other versions can
// read.
type keptFile struct {
	About    learned.File
	Owner    fair.Owner
	Size     uint64
	Modified int64 // ns since 1970
	Newest   time.Duration
}

// keptSize is the size in bytes of the JSON of a file. A longer path or cgroup is cut to fit.
const keptSize = 4000

// aboutMap returns the map of keptFiles, by learnedFileId. It takes 4 KiB for a file.
func aboutMap() *ebpf.MapSpec {
	return &ebpf.MapSpec{
		Name: "learned_about", Type: ebpf.Hash, KeySize: 16, ValueSize: keptSize, MaxEntries: 2 * maxLearned, Flags: unix.BPF_F_NO_PREALLOC,
	}
}

// keep stores what is known of a file, if that is kept.
func (l *learnedFiles) keep(f *learnedFile) error {
	if l.about == nil {
		return nil
	}
	k := keptFile{f.about, f.owner, f.content.size, f.content.modified, f.newest}
	for {
		text, err := json.Marshal(k)
		if err != nil {
			return fmt.Errorf("encoding a learned file: %w", err)
		}
		if len(text) <= keptSize {
			if err := l.about.Put(rawID(f.content.id), append(text, make([]byte, keptSize-len(text))...)); err != nil {
				return fmt.Errorf("keeping what is known of a learned file: %w", err)
			}
			return nil
		}
		k.About.Path, k.About.Cgroup = k.About.Path[:len(k.About.Path)/2], k.About.Cgroup[:len(k.About.Cgroup)/2]
	}
}

// unkeep removes it. Call it before the file is removed from the kernel.
func (l *learnedFiles) unkeep(id learnedFileId) error {
	if l.about == nil {
		return nil
	}
	if err := l.about.Delete(id); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("forgetting what is known of a learned file: %w", err)
	}
	return nil
}

// restore goes on with the files of the agent before. What it was about to store is stored, and what
// it was about to forget is forgotten, as is what this version cannot read. If the kernel has the files
// in another layout, because it was another version, their hits begin at 0.
func (l *learnedFiles) restore() error {
	if l.about == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	kept, err := l.readKept()
	if err != nil {
		return err
	}
	for _, f := range kept {
		l.files.Find(f.content.id, func() *learnedFile { return f })
		l.last = max(l.last, f.about.ID)
		var raw learnedLearnedFile
		err := l.kernel.Lookup(rawID(f.content.id), &raw)
		if errors.Is(err, ebpf.ErrKeyNotExist) || err == nil && raw.Number != f.about.ID {
			err = l.kernel.Put(rawID(f.content.id), f.raw())
		}
		if err != nil {
			return fmt.Errorf("storing a learned file again: %w", err)
		}
	}
	var id learnedFileId
	var raw learnedLearnedFile
	stored := l.kernel.Iterate()
	for stored.Next(&id, &raw) {
		l.inKernel[decodeID(id)] = true
	}
	if err := stored.Err(); err != nil {
		return fmt.Errorf("reading learned files: %w", err)
	}
	return l.sync()
}

// readKept returns what is kept of files, and removes what cannot be read.
func (l *learnedFiles) readKept() (kept []*learnedFile, err error) {
	var id learnedFileId
	var text []byte
	var bad []learnedFileId
	all := l.about.Iterate()
	for all.Next(&id, &text) {
		var k keptFile
		if json.Unmarshal(bytes.TrimRight(text, "\x00"), &k) != nil {
			bad = append(bad, id)
			continue
		}
		kept = append(kept, &learnedFile{content: fileContent{decodeID(id), k.Size, k.Modified}, owner: k.Owner, about: k.About, newest: k.Newest})
	}
	if err := all.Err(); err != nil {
		return nil, fmt.Errorf("reading what is known of learned files: %w", err)
	}
	for _, id := range bad {
		if err := l.unkeep(id); err != nil {
			return nil, err
		}
	}
	return kept, nil
}
