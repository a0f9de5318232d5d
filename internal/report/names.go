package report

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cryptnono/cryptnono/internal/container"
	"github.com/cryptnono/cryptnono/internal/printable"
)

const (
	// maxAsking is for how many owners names are asked at once, each for lookupTimeout
	// at most; maxWaiting is how many lines of one owner wait for that, and
	// limitedWaiting how many where the lines of an owner are limited. Lines beyond are
	// written without names.
	maxAsking                  = 64
	maxWaiting, limitedWaiting = 512, 32
	lookupTimeout              = 2 * time.Second
	lastTimeout                = 500 * time.Millisecond // for all that wait at the end
	// textLimit is the length in bytes of a name in the log.
	textLimit = 1024
)

// lookups write lines when the names in them are known: for each owner one at a time,
// so that one with an unknown name holds up nobody else's lines.
type lookups struct {
	asking  context.Context //nolint:containedctx // ends with the reporter, not with a call
	giveUp  context.CancelFunc
	most    int // that wait of one owner
	running sync.WaitGroup

	mu      sync.Mutex
	waiting map[string][]func(context.Context) // by owner; somebody asks for each in it
	ended   bool
}

func newLookups() *lookups {
	l := &lookups{most: maxWaiting, waiting: make(map[string][]func(context.Context))}
	l.asking, l.giveUp = context.WithCancel(context.Background())
	return l
}

// ask has a function called that asks for names and then writes a line. It returns
// false if too many are waiting.
func (l *lookups) ask(owner string, write func(context.Context)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	waiting, asked := l.waiting[owner]
	if l.ended || len(waiting) >= l.most || !asked && len(l.waiting) >= maxAsking {
		return false
	}
	l.waiting[owner] = append(waiting, write)
	if !asked {
		l.running.Go(func() { l.work(owner) })
	}
	return true
}

// work calls what waits of one owner, until nothing does.
func (l *lookups) work(owner string) {
	for {
		l.mu.Lock()
		waiting := l.waiting[owner]
		if len(waiting) == 0 {
			delete(l.waiting, owner)
			l.mu.Unlock()
			return
		}
		l.waiting[owner] = waiting[1:]
		l.mu.Unlock()
		ctx, cancel := context.WithTimeout(l.asking, lookupTimeout)
		waiting[0](ctx)
		cancel()
	}
}

// end waits until all lines are written, which have no more than that time to find
// their names.
func (l *lookups) end(wait time.Duration) {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	defer time.AfterFunc(wait, l.giveUp).Stop()
	l.running.Wait()
	l.giveUp()
}

// maxNamed is of how many containers the part of the line is kept.
const maxNamed = 256

// namesOf returns a container's part of the line, which is made once. Nobody may change it.
func (r *Reporter) namesOf(c *container.Container) []slog.Attr {
	r.mu.Lock()
	defer r.mu.Unlock()
	attrs, ok := r.named[c]
	if !ok {
		attrs = names(c)
		if len(r.named) >= maxNamed {
			clear(r.named)
		}
		r.named[c] = attrs
	}
	return attrs
}

// names returns a container's part of the line.
func names(c *container.Container) []slog.Attr {
	attrs := appendText(nil, "container_id", c.ID, "container", bounded(c.Name), "image", bounded(c.Image),
		"pod", bounded(c.Pod), "namespace", bounded(c.Namespace))
	if len(c.Labels) > 0 {
		labels := make([]slog.Attr, 0, len(c.Labels))
		for _, key := range slices.Sorted(maps.Keys(c.Labels)) {
			labels = append(labels, slog.String(bounded(key), bounded(c.Labels[key])))
		}
		attrs = append(attrs, slog.GroupAttrs("labels", labels...))
	}
	if c.Nested != nil {
		attrs = append(attrs, slog.GroupAttrs("nested", names(c.Nested)...))
	}
	return attrs
}

func bounded(text string) string { return printable.Text([]byte(text), textLimit) }
