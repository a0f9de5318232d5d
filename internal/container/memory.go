package container

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// A container that is unknown is asked for again after as long a time as
	// it has been unknown already, within these bounds: one that is about to
	// be made known is found soon, one that never will be costs little.
	minUnknown, maxUnknown = 10 * time.Millisecond, 10 * time.Second
	// afterFailure is the time after which that is tried again for which no
	// answer came.
	afterFailure = 250 * time.Millisecond
)

// A memory holds what runtimes have answered, and which questions are open. All
// of it is bounded.
type memory struct {
	maxOpen int

	mu      sync.Mutex
	known   *lru[*Container]
	unknown *lru[absence]
	open    map[string]*question
	closed  bool

	stop    context.Context //nolint:containedctx // ends with the memory, not with a call
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// An absence is a container that no runtime knew, from when on, and until when
// that is believed.
type absence struct {
	err         error
	since, till time.Time
}

// A question is open until done is closed; then it has its answer.
type question struct {
	done      chan struct{}
	container *Container
	err       error
}

// newMemory returns a memory of so many containers and bytes, with at most
// maxOpen questions open.
func newMemory(containers, bytes, maxOpen int) *memory {
	m := &memory{
		maxOpen: maxOpen,
		known:   newLRU[*Container](containers, bytes),
		unknown: newLRU[absence](containers/4, bytes),
		open:    make(map[string]*question),
	}
	m.stop, m.cancel = context.WithCancel(context.Background())
	return m
}

// recall returns what is known, without waiting.
func (m *memory) recall(key string) (*Container, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known.get(key)
}

// lookup returns what is known, or asks. Those who ask for the same container
// at once wait for one answer. When ctx ends, lookup returns its error; the
// question goes on for whoever asks next.
func (m *memory) lookup(ctx context.Context, key string, ask func(context.Context) (*Container, error)) (*Container, error) {
	m.mu.Lock()
	if c, ok := m.known.get(key); ok {
		m.mu.Unlock()
		return c, nil
	}
	q, ok := m.open[key]
	if !ok {
		if err := m.mayAsk(key); err != nil {
			m.mu.Unlock()
			return nil, err
		}
		q = &question{done: make(chan struct{})}
		m.open[key] = q
		m.running.Go(func() {
			q.container, q.err = ask(m.stop)
			m.conclude(key, q)
		})
	}
	m.mu.Unlock()
	select {
	case <-q.done:
		return q.container, q.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *memory) mayAsk(key string) error {
	if m.closed {
		return fmt.Errorf("%w: the resolver is closed", ErrUnknown)
	}
	if a, ok := m.unknown.get(key); ok && time.Now().Before(a.till) {
		return a.err
	}
	if len(m.open) >= m.maxOpen {
		return fmt.Errorf("%w: too many are asked for at once", ErrUnknown)
	}
	return nil
}

func (m *memory) conclude(key string, q *question) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.open, key)
	close(q.done)
	if q.err == nil {
		m.unknown.remove(key)
		m.known.put(key, q.container, len(key)+q.container.size())
		return
	}
	now := time.Now()
	a, ok := m.unknown.get(key)
	if !ok {
		a.since = now
	}
	wait := min(max(now.Sub(a.since), minUnknown), maxUnknown)
	if _, failed := errors.AsType[*failure](q.err); failed {
		wait = afterFailure
	}
	a.err, a.till = q.err, now.Add(wait)
	m.unknown.put(key, a, len(key)+256)
}

func (m *memory) len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known.len()
}

// close calls off all questions and waits for their ends.
func (m *memory) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.cancel()
	m.running.Wait()
}

// A failure is an unknown container whose runtime did not answer.
type failure struct{ cause error }

func (f *failure) Error() string { return ErrUnknown.Error() + ": " + f.cause.Error() }

// Unwrap makes it an ErrUnknown as well.
func (f *failure) Unwrap() []error { return []error{ErrUnknown, f.cause} }
