package exempt

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/shortage"
)

// lookupTime is for how long a lookup is waited for.
const lookupTime = time.Second

// errNoAnswer: the file system of a path has not answered in time.
var errNoAnswer = errors.New("its file system does not answer")

// unanswered reports whether an error of a lookup says nothing about the path.
func unanswered(err error) bool {
	others := []error{errNoAnswer, context.Canceled, context.DeadlineExceeded, unix.EAGAIN, unix.EINTR}
	return shortage.Is(err) || slices.ContainsFunc(others, func(other error) bool { return errors.Is(err, other) })
}

// lookups look for files by paths on the host. A file system there may never answer, such as that of a
// user (FUSE) or of a server. So each lookup has a goroutine, and callers wait for lookupTime at most.
// There is one goroutine for each name at most, however long it takes.
type lookups struct {
	mu      sync.Mutex
	running map[string]*lookup // by name, also those whose result was not taken
}

// A lookup is one that runs or has ended.
type lookup struct {
	began time.Time
	done  chan struct{} // closed when the fields below are set
	ended time.Time
	files []process.FileID
	err   error
}

// isOld reports whether a lookup has ended so long ago that its result does not count any more.
func (l *lookup) isOld() bool {
	select {
	case <-l.done:
		return time.Since(l.ended) > 2*resolveInterval
	default:
		return false
	}
}

// begin begins a lookup, unless that of this name runs already.
func (l *lookups) begin(name string, find func() ([]process.FileID, error)) *lookup {
	l.mu.Lock()
	defer l.mu.Unlock()
	if its := l.running[name]; its != nil && !its.isOld() {
		return its
	}
	its := &lookup{began: time.Now(), done: make(chan struct{})}
	if l.running == nil {
		l.running = make(map[string]*lookup)
	}
	l.running[name] = its
	go func() {
		its.files, its.err = find()
		its.ended = time.Now()
		close(its.done)
	}()
	return its
}

// wait returns the result of a lookup. The error is errNoAnswer if it began lookupTime ago, and that of
// ctx if this ends before.
func (l *lookups) wait(ctx context.Context, name string, its *lookup) ([]process.FileID, error) {
	timer := time.NewTimer(time.Until(its.began.Add(lookupTime)))
	defer timer.Stop()
	select {
	case <-its.done:
	case <-timer.C:
	case <-ctx.Done():
	}
	select {
	case <-its.done:
	default:
		if ctx.Err() != nil {
			return nil, ctx.Err() //nolint:wrapcheck // the caller's own
		}
		return nil, errNoAnswer
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running[name] == its {
		delete(l.running, name)
	}
	return its.files, its.err
}

// finish waits until all lookups have ended, except those that have taken longer than lookupTime.
func (l *lookups) finish() {
	l.mu.Lock()
	running := maps.Clone(l.running)
	l.mu.Unlock()
	for name, its := range running {
		_, _ = l.wait(context.Background(), name, its)
	}
}
