package runtimes

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cryptnono/cryptnono/internal/container"
)

const (
	// Unknown containers are looked up again with exponential backoff: after as long as
	// they have been unknown, within these bounds.
	minUnknown, maxUnknown = 10 * time.Millisecond, 10 * time.Second
	// errorRetry is the delay before a failed lookup is retried.
	errorRetry = 250 * time.Millisecond
)

// A cache stores the results of lookups, and shares those in flight. Its size is bounded.
type cache struct {
	maxInflight int

	mu       sync.Mutex
	known    *lru[*container.Container]
	unknown  *lru[negativeEntry]
	inflight map[string]*call
	closed   bool

	stop    context.Context //nolint:containedctx // ends with the cache, not with a call
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// A negativeEntry is a container that no runtime knew, or whose lookup failed. It is not
// looked up again before till.
type negativeEntry struct {
	err         error
	since, till time.Time
}

// A call is a lookup in flight. It has its result when done is closed.
type call struct {
	done      chan struct{}
	container *container.Container
	err       error
}

// newCache returns a cache for this number of containers and bytes, with at most
// maxInflight concurrent lookups.
func newCache(containers, bytes, maxInflight int) *cache {
	c := &cache{
		maxInflight: maxInflight,
		known:       newLRU[*container.Container](containers, bytes),
		unknown:     newLRU[negativeEntry](containers/4, bytes),
		inflight:    make(map[string]*call),
	}
	c.stop, c.cancel = context.WithCancel(context.Background())
	return c
}

// get returns a cached container. It does not block.
func (c *cache) get(key string) (*container.Container, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known.get(key)
}

// lookup returns a cached container, or calls query. Concurrent lookups of the same
// container share one call. When ctx ends, lookup returns its error, and the call
// continues.
func (c *cache) lookup(ctx context.Context, key string, query func(context.Context) (*container.Container, error)) (*container.Container, error) {
	c.mu.Lock()
	if found, ok := c.known.get(key); ok {
		c.mu.Unlock()
		return found, nil
	}
	f, ok := c.inflight[key]
	if !ok {
		if err := c.mayStart(key); err != nil {
			c.mu.Unlock()
			return nil, err
		}
		f = &call{done: make(chan struct{})}
		c.inflight[key] = f
		c.running.Go(func() {
			f.container, f.err = query(c.stop)
			c.finish(key, f)
		})
	}
	c.mu.Unlock()
	select {
	case <-f.done:
		return f.container, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *cache) mayStart(key string) error {
	if c.closed {
		return fmt.Errorf("%w: the resolver is closed", container.ErrUnknown)
	}
	if entry, ok := c.unknown.get(key); ok && time.Now().Before(entry.till) {
		return entry.err
	}
	if len(c.inflight) >= c.maxInflight {
		return fmt.Errorf("%w: too many concurrent lookups", container.ErrUnknown)
	}
	return nil
}

func (c *cache) finish(key string, f *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.inflight, key)
	close(f.done)
	if f.err == nil {
		c.unknown.remove(key)
		c.known.put(key, f.container, len(key)+size(f.container))
		return
	}
	now := time.Now()
	entry, ok := c.unknown.get(key)
	if !ok {
		entry.since = now
	}
	wait := min(max(now.Sub(entry.since), minUnknown), maxUnknown)
	if _, failed := errors.AsType[*lookupError](f.err); failed {
		wait = errorRetry
	}
	entry.err, entry.till = f.err, now.Add(wait)
	c.unknown.put(key, entry, len(key)+256)
}

func (c *cache) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known.len()
}

// close cancels all lookups and waits for their end.
func (c *cache) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.running.Wait()
}

// A lookupError is a container.ErrUnknown because no runtime that may know the container answered.
type lookupError struct{ cause error }

func (e *lookupError) Error() string { return container.ErrUnknown.Error() + ": " + e.cause.Error() }

// Unwrap returns container.ErrUnknown and the cause.
func (e *lookupError) Unwrap() []error { return []error{container.ErrUnknown, e.cause} }
