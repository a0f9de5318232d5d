package evidence

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/printable"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
)

const (
	// maxReads bounds the files that are read at the same time.
	maxReads = 2
	// openTime is for how long a kill waits until the program file is open, which takes less than
	// a millisecond.
	openTime = 20 * time.Millisecond
	// maxFiles bounds the files of an owner that are read in ownerWindow, and so the kills that wait.
	// maxOwners bounds the owners.
	maxFiles, ownerWindow, maxOwners = 10, time.Minute, 1024
	// maxKnown bounds the files whose hash is kept.
	maxKnown = 256
	// maxRoots bounds the processes in whose file system a file is sought by its path.
	maxRoots = 4
)

// A fileKey identifies a file, but not its content. What an owner shows as a file is not taken for that
// of another, which may get its device number later.
type fileKey struct {
	owner         string
	device, inode uint64
}

// An owner is a container or user, whose files are read within a limit.
type owner struct {
	began time.Time // of the window
	files int       // in it
}

// readOwner is the name by which reads are charged, so that they do not delay those for verdicts.
func readOwner(p process.Event) string { return procread.ForEvidence(p.Cgroup.Owner) }

// enter waits until no other read of an owner is going on, and then for one of maxReads places: an
// owner with slow files takes no more than one. Call leave after the read, if ok.
func (c *Collector) enter(ctx context.Context, name string) (leave func(), ok bool) {
	ended := make(chan struct{})
	for {
		c.mu.Lock()
		other := c.reading[name]
		if other == nil {
			c.reading[name] = ended
		}
		c.mu.Unlock()
		if other == nil {
			break
		}
		select {
		case <-other:
		case <-ctx.Done():
			return nil, false
		}
	}
	end := func() {
		c.mu.Lock()
		delete(c.reading, name)
		c.mu.Unlock()
		close(ended)
	}
	select {
	case c.reads <- struct{}{}:
		return func() { <-c.reads; end() }, true
	case <-ctx.Done():
		end()
		return nil, false
	}
}

// admit reports whether a file of an owner may be read.
func (c *Collector) admit(name string) bool {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.owners[name]
	if o == nil {
		for other, o := range c.owners {
			if len(c.owners) >= maxOwners && now.Sub(o.began) > ownerWindow {
				delete(c.owners, other)
			}
		}
		if len(c.owners) >= maxOwners {
			return false
		}
		o = &owner{began: now}
		c.owners[name] = o
	}
	if now.Sub(o.began) > ownerWindow {
		o.began, o.files = now, 0
	}
	if o.files >= maxFiles {
		return false
	}
	o.files++
	return true
}

// read reads a program file, if there is room for that, and remembers its hash.
func (c *Collector) read(ctx context.Context, h *process.Handle, owner string, w procread.WantedProgram, opened func(procread.Program)) (procread.Program, error) {
	leave, ok := c.enter(ctx, owner)
	if !ok {
		c.dropped.WithLabelValues(partExecutable).Inc()
		return procread.Program{}, fmt.Errorf("%w: other files are read", procread.ErrStuck)
	}
	defer leave()
	key := fileKey{owner, uint64(w.File.Device), w.File.Inode}
	c.mu.Lock()
	w.Known = c.known[key]
	c.mu.Unlock()
	p, err := c.reader.Program(ctx, h, owner, w, opened)
	if err == nil && p.SHA256 != nil && !p.Volatile && key.inode != 0 {
		c.mu.Lock()
		if len(c.known) >= maxKnown {
			clear(c.known)
		}
		c.known[key] = p
		c.mu.Unlock()
	}
	return p, err //nolint:wrapcheck // it says all
}

// Opened is what is read of a process that is about to be killed.
type Opened struct {
	cwd     string
	absent  string // why the program is not read, "" if it is
	program procread.Program
	err     error
	read    chan struct{} // closed when program and err are set
	endedAt time.Time
	ended   chan struct{} // closed when endedAt is set
}

// Before begins to gather what cannot be read after the end of a process. Call it directly before the
// kill, which it delays by less than a millisecond, and by 20 ms at most. nil is for nothing.
func (c *Collector) Before(p process.Event) *Opened {
	if c == nil {
		return nil
	}
	wanted := *c.settings.Load()
	o := &Opened{read: make(chan struct{}), ended: make(chan struct{})}
	if wanted.WorkingDirectory {
		o.cwd, _ = os.Readlink(process.Dir(p.PID) + "/cwd")
	}
	h, err := p.Open() // the caller closes its own
	if err != nil {
		o.cwd, o.err = "", err // it can be that of another process
	}
	if err != nil || !wanted.Executable && !wanted.Times {
		close(o.read)
		close(o.ended)
		if err == nil {
			h.Close()
		}
		return o
	}
	if wanted.Executable && !c.admit(p.Cgroup.Owner) {
		o.absent = procread.AbsentTooMany
		c.dropped.WithLabelValues(partExecutable).Inc()
	}
	open := make(chan struct{}, 1)
	go func() {
		defer close(o.read)
		if !wanted.Executable || o.absent != "" {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), gatherTime)
		defer cancel()
		o.program, o.err = c.read(ctx, h, readOwner(p), procread.WantedProgram{File: p.File}, func(procread.Program) { open <- struct{}{} })
	}()
	go func() {
		defer h.Close()
		o.endedAt = awaitEnd(context.Background(), h)
		close(o.ended)
		<-o.read // h is in use
	}()
	timeout := time.NewTimer(c.openTime)
	defer timeout.Stop()
	select {
	case <-open:
	case <-o.read: // it cannot be opened
	case <-timeout.C:
	}
	return o
}

// awaitEnd returns when a process has ended, or the zero time if that takes too long.
func awaitEnd(ctx context.Context, h *process.Handle) time.Time {
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	for pause := time.Millisecond; ; pause = min(2*pause, 64*time.Millisecond) {
		if errors.Is(h.Alive(), process.ErrGone) {
			return time.Now()
		}
		select {
		case <-ctx.Done():
			return time.Time{}
		case <-time.After(pause):
		}
	}
}

// ended returns when a process had ended, or the zero time if that is not known.
func (s *Subject) ended(ctx context.Context) time.Time {
	if s.Opened == nil {
		h, err := s.Open()
		if err != nil {
			return time.Now() // at this time at the latest
		}
		defer h.Close()
		return awaitEnd(ctx, h)
	}
	select {
	case <-s.Opened.ended:
		return s.Opened.endedAt
	case <-ctx.Done():
		return time.Time{}
	}
}

// directory returns the working directory of a process as it is logged, "" if it is not known.
func (s *Subject) directory() string {
	seen := s.Directory
	switch {
	case s.Opened != nil:
		seen = Directory{Path: s.Opened.cwd}
	case seen.Path == "":
		seen.Path = s.currentDirectory()
	}
	text := printable.Text([]byte(seen.Path), maxText)
	if seen.Cut {
		return "…" + text
	}
	return text
}

// currentDirectory returns the working directory of a process that runs, otherwise "".
func (s *Subject) currentDirectory() string {
	h, err := s.Open()
	if err != nil {
		return ""
	}
	defer h.Close()
	cwd, _ := os.Readlink(process.Dir(s.PID) + "/cwd")
	if h.Alive() != nil {
		return "" // it can be that of another process
	}
	return cwd
}

// executable returns the attribute about the program file.
func (c *Collector) executable(ctx context.Context, s *Subject, in *peers) slog.Attr {
	p, absent := c.program(ctx, s, in)
	attrs := make([]slog.Attr, 0, 8)
	if p.SHA256 != nil {
		attrs = append(attrs, slog.String("sha256", hex.EncodeToString(p.SHA256)))
	}
	switch {
	case p.Inode != 0:
		attrs = append(attrs, slog.Int64("size", p.Size),
			slog.String("device", fmt.Sprintf("%d:%d", unix.Major(p.Device), unix.Minor(p.Device))), slog.Uint64("inode", p.Inode))
	case s.File.Inode != 0:
		attrs = append(attrs, slog.String("device", fmt.Sprintf("%d:%d", s.File.Device>>20, s.File.Device&0xfffff)), slog.Uint64("inode", s.File.Inode))
	}
	for _, flag := range []struct {
		key string
		on  bool
	}{{"deleted", p.Deleted || p.Inode == 0 && s.FileDeleted}, {"memfd", p.Memfd}, {"writable_place", p.Writable}} {
		if flag.on {
			attrs = append(attrs, slog.Bool(flag.key, true))
		}
	}
	if absent == "" {
		absent = p.Absent
	}
	if absent != "" {
		attrs = append(attrs, slog.String("absent", absent))
	}
	return slog.GroupAttrs("executable", attrs...)
}

// program returns the program file of a process, or why it is absent.
func (c *Collector) program(ctx context.Context, s *Subject, in *peers) (procread.Program, string) {
	if o := s.Opened; o != nil {
		select {
		case <-o.read:
		case <-ctx.Done():
			return procread.Program{}, procread.AbsentStuck
		}
		if o.err == nil || !errors.Is(o.err, process.ErrGone) {
			return o.program, reason(o.absent, o.err)
		}
	} // else it may be found by its path
	if !c.admit(s.Cgroup.Owner) {
		c.dropped.WithLabelValues(partExecutable).Inc()
		return procread.Program{}, procread.AbsentTooMany
	}
	if h, err := s.Open(); err == nil {
		defer h.Close()
		p, err := c.read(ctx, h, readOwner(s.Event), procread.WantedProgram{File: s.File}, nil)
		if err == nil || !errors.Is(err, process.ErrGone) {
			return p, reason("", err)
		}
	}
	return c.byPath(ctx, s, in)
}

// byPath returns the program file of a process that has ended, if it is still at its path in the file
// system of its parent or of another process of its container.
func (c *Collector) byPath(ctx context.Context, s *Subject, in *peers) (procread.Program, string) {
	switch {
	case s.File.Inode == 0:
		return procread.Program{}, procread.AbsentEnded
	case s.Program == "":
		return procread.Program{}, procread.AbsentNotKnown
	}
	why := process.ErrGone
	try := func(of process.Who) (procread.Program, bool) {
		h, err := in.handle(of)
		if err == nil {
			var p procread.Program
			if p, err = c.read(ctx, h, readOwner(s.Event), procread.WantedProgram{Path: s.Program, File: s.File}, nil); err == nil {
				return p, true
			}
		}
		if !errors.Is(err, process.ErrGone) {
			why = err
		}
		return procread.Program{}, false
	}
	for i, other := range s.roots(in) {
		if i == maxRoots || ctx.Err() != nil {
			break
		}
		if p, ok := try(other); ok {
			return p, ""
		}
	}
	return procread.Program{}, reason("", why)
}

// roots returns the processes in whose file system the program file may be found: the parent first,
// and only those of the container if there is one.
func (s *Subject) roots(in *peers) (all []process.Who) {
	if !s.Cgroup.Container.Contained() {
		if parent, err := process.Identify(s.PPID); err == nil {
			all = append(all, parent)
		}
		return all
	}
	for _, p := range in.list() {
		if p.PID == s.PPID {
			all = slices.Insert(all, 0, p.Who)
		} else {
			all = append(all, p.Who)
		}
	}
	return all
}

// reason returns why a file is absent.
func reason(absent string, err error) string {
	switch {
	case absent != "" || err == nil:
		return absent
	case errors.Is(err, process.ErrGone):
		return procread.AbsentEnded
	case errors.Is(err, procread.ErrOtherFile):
		return procread.AbsentOther
	case errors.Is(err, procread.ErrStuck):
		return procread.AbsentStuck
	case errors.Is(err, fs.ErrNotExist):
		return procread.AbsentNoPath
	}
	return procread.AbsentNotRead
}
