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
	// Names are looked up for maxActive owners concurrently, for at most lookupTimeout per
	// line. maxWaiting lines of one owner wait for that, or limitedWaiting if the lines of
	// an owner are limited. Further lines are written without names.
	maxActive                  = 64
	maxWaiting, limitedWaiting = 512, 32
	lookupTimeout              = 2 * time.Second
	lastTimeout                = 500 * time.Millisecond // for all waiting lines at the end
	// textLimit is the maximum length of a name in the log, in bytes.
	textLimit = 1024
)

// lookups writes lines after gathering evidence for them and looking up the names in them, one line of an owner after the
// other, so that a slow lookup does not delay the lines of other owners.
type lookups struct {
	ctx     context.Context //nolint:containedctx // ends with the reporter, not with a call
	cancel  context.CancelFunc
	most    int // waiting lines of one owner
	running sync.WaitGroup

	mu      sync.Mutex
	waiting map[string][]func(context.Context) // by owner; each owner in it has a goroutine
	ended   bool
}

func newLookups() *lookups {
	l := &lookups{most: maxWaiting, waiting: make(map[string][]func(context.Context))}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// enqueue calls write later, which gathers evidence, looks up names and writes a line. It returns false if
// too many are waiting.
func (l *lookups) enqueue(owner string, write func(context.Context)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	waiting, active := l.waiting[owner]
	if l.ended || len(waiting) >= l.most || !active && len(l.waiting) >= maxActive {
		return false
	}
	l.waiting[owner] = append(waiting, write)
	if !active {
		l.running.Go(func() { l.work(owner) })
	}
	return true
}

// work writes the waiting lines of an owner, until there are none.
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
		waiting[0](l.ctx)
	}
}

// end waits until all lines are written. After wait, it cancels the remaining lookups.
func (l *lookups) end(wait time.Duration) {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	defer time.AfterFunc(wait, l.cancel).Stop()
	l.running.Wait()
	l.cancel()
}

// maxNamed is the number of containers whose attributes are cached.
const maxNamed = 256

// namesOf returns the attributes of the container of a verdict, from a cache. They must not be
// changed. If c is nil, as without an answer of the runtime, that is the id in the cgroup's path,
// which keeps the lines of several pods apart.
func (r *Reporter) namesOf(v Verdict, c *container.Container) []slog.Attr {
	if c == nil {
		return appendText(nil, "container_id", v.Cgroup.Container.ID)
	}
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

// names returns the attributes of a container.
func names(c *container.Container) []slog.Attr {
	attrs := appendText(nil, "container_id", c.ID, "container", bounded(c.Name), "image", bounded(c.Image),
		"pod", bounded(c.Pod), "namespace", bounded(c.Namespace))
	attrs = appendTexts(attrs, "labels", c.Labels)
	attrs = appendTexts(attrs, "annotations", c.Annotations)
	if c.Nested != nil {
		attrs = append(attrs, slog.GroupAttrs("nested", names(c.Nested)...))
	}
	return attrs
}

// appendTexts appends a group of texts that users choose, unless it is empty.
func appendTexts(attrs []slog.Attr, name string, texts map[string]string) []slog.Attr {
	if len(texts) == 0 {
		return attrs
	}
	group := make([]slog.Attr, 0, len(texts))
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		group = append(group, slog.String(bounded(key), bounded(texts[key])))
	}
	return append(attrs, slog.GroupAttrs(name, group...))
}

func bounded(text string) string { return printable.Text([]byte(text), textLimit) }
