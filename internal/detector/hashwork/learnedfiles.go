package hashwork

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cilium/ebpf"

	"github.com/cryptnono/cryptnono/internal/detector/hashwork/learned"
	"github.com/cryptnono/cryptnono/internal/fair"
	"github.com/cryptnono/cryptnono/internal/process"
)

// maxLearned bounds the learned files. With more, files of the user or cgroup with the most are
// forgotten, those first that were not executed for longest.
const maxLearned = 1024

// A learnedFile is a file whose next exec is a kill.
type learnedFile struct {
	content fileContent
	owner   fair.Owner // of the process that was killed
	about   learned.File
	newest  time.Duration // monotonic time of the newest exec, or when it was learned
}

// Owner implements fair.Entry.
func (f *learnedFile) Owner() fair.Owner { return f.owner }

// Weight implements fair.Entry.
func (f *learnedFile) Weight() int { return 0 }

// Newest implements fair.Entry.
func (f *learnedFile) Newest() time.Duration { return f.newest }

// learnedFiles are the learned files, here and in the kernel. It is safe for concurrent use.
type learnedFiles struct {
	kernel, count *ebpf.Map // learned_files and learned_count
	about         *ebpf.Map // for the next agent; nil if nothing is pinned

	mu       sync.Mutex
	expire   time.Duration // without an exec; 0 to learn nothing
	files    fair.Roster[process.FileID, *learnedFile]
	inKernel map[process.FileID]bool
	last     uint64 // number, of all that were ever learned
}

// about may be nil.
func newLearnedFiles(kernel, count, about *ebpf.Map) *learnedFiles {
	return &learnedFiles{
		kernel: kernel, count: count, about: about, inKernel: make(map[process.FileID]bool),
		files: fair.NewRoster[process.FileID, *learnedFile](fair.Bounds{Entries: maxLearned}),
	}
}

func (f *learnedFile) raw() learnedLearnedFile {
	return learnedLearnedFile{Number: f.about.ID, Size: f.content.size, ModifiedNs: uint64(f.content.modified)}
}

// add adds a file, in place of an older content of it.
func (l *learnedFiles) add(f *learnedFile) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.expire == 0 {
		return nil
	}
	if l.files.Len() >= maxLearned { // an eviction goes by the newest execs
		if err := l.refresh(); err != nil {
			return err
		}
	}
	l.last++
	f.about.ID, f.newest = l.last, process.Monotonic()
	id := f.content.id
	l.files.Sweep(func(old *learnedFile) bool { return old.content.id == id })
	l.files.Find(id, func() *learnedFile { return f })
	err := l.keep(f)
	if err == nil {
		err = l.kernel.Put(rawID(id), f.raw())
	}
	if err != nil {
		l.files.Sweep(func(it *learnedFile) bool { return it == f })
		return errors.Join(fmt.Errorf("storing a learned file: %w", err), l.unkeep(rawID(id)), l.sync())
	}
	l.inKernel[id] = true
	return l.sync()
}

// sync deletes from the kernel what is not among the files.
func (l *learnedFiles) sync() error {
	var errs []error
	if len(l.inKernel) > l.files.Len() {
		known := make(map[process.FileID]bool, l.files.Len())
		for id := range l.files.All() {
			known[id] = true
		}
		for id := range l.inKernel {
			if known[id] {
				continue
			}
			if err := l.unkeep(rawID(id)); err != nil {
				errs = append(errs, err)
				continue
			}
			if err := l.kernel.Delete(rawID(id)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				errs = append(errs, fmt.Errorf("forgetting a learned file: %w", err))
				continue
			}
			delete(l.inKernel, id)
		}
	}
	if err := l.count.Put(uint32(0), uint32(len(l.inKernel))); err != nil {
		errs = append(errs, fmt.Errorf("storing the number of learned files: %w", err))
	}
	return errors.Join(errs...)
}

// refresh reads from the kernel how often and when the files were executed.
func (l *learnedFiles) refresh() error {
	now, wall := process.Monotonic(), time.Now()
	for id, f := range l.files.All() {
		var raw learnedLearnedFile
		if err := l.kernel.Lookup(rawID(id), &raw); err != nil {
			return fmt.Errorf("reading a learned file: %w", err)
		}
		if raw.HitNs != 0 {
			f.newest = time.Duration(raw.HitNs)
			f.about.LastHit = wall.Add(f.newest - now).Round(time.Millisecond)
		}
		f.about.Hits = raw.Hits
		f.about.Expires = wall.Add(f.newest + l.expire - now).Round(time.Second)
	}
	return nil
}

// apply sets the time after which a file without an exec is forgotten. For 0, all are forgotten.
func (l *learnedFiles) apply(expire time.Duration) error {
	l.mu.Lock()
	l.expire = expire
	l.mu.Unlock()
	return l.sweep(process.Monotonic())
}

// sweep forgets what has expired at a monotonic time.
func (l *learnedFiles) sweep(now time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.refresh(); err != nil {
		return err
	}
	l.files.Sweep(func(f *learnedFile) bool { return l.expire == 0 || now-f.newest > l.expire })
	return l.sync()
}

// Files implements learned.Store.
func (l *learnedFiles) Files() ([]learned.File, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.refresh(); err != nil {
		return nil, err
	}
	return l.list(learned.Selection{All: true}), nil
}

// Forget implements learned.Store.
func (l *learnedFiles) Forget(s learned.Selection) ([]learned.File, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.refresh(); err != nil {
		return nil, err
	}
	forgotten := l.list(s)
	l.files.Sweep(func(f *learnedFile) bool { return s.Has(f.about) })
	return forgotten, l.sync()
}

func (l *learnedFiles) list(s learned.Selection) []learned.File {
	all := []learned.File{} // JSON has [] for none
	for _, f := range l.files.All() {
		if s.Has(f.about) {
			all = append(all, f.about)
		}
	}
	slices.SortFunc(all, func(a, b learned.File) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// find returns a file by its number, if it has not been forgotten.
func (l *learnedFiles) find(id process.FileID, number uint64) (learnedFile, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for at, f := range l.files.All() {
		if at == id && f.about.ID == number {
			return *f, true
		}
	}
	return learnedFile{}, false
}

// counts returns the number of files, and of those that were ever learned.
func (l *learnedFiles) counts() (now int, ever uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.files.Len(), l.last
}
