package runtimes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"sync"
	"time"

	"github.com/cryptnono/cryptnono/internal/container"
	"github.com/cryptnono/cryptnono/internal/printable"
)

const (
	// requestTimeout is the time limit of a request to a runtime, and of waiting for one
	// of the maxRequests slots.
	requestTimeout = time.Second
	// maxRequests is the maximum number of concurrent requests to a runtime.
	maxRequests = 8
	// backoffTime is the pause after a request that timed out.
	backoffTime = time.Second
)

// An api is a client of a kind of runtime. container returns container.ErrUnknown if the runtime
// has no container with this id.
type api interface {
	kind() string
	container(ctx context.Context, id string) (*container.Container, error)
	close() error
}

// A backend is a container runtime, which may not be installed.
type backend struct {
	api
	socket  socket
	log     *slog.Logger
	metrics *metrics
	slots   chan struct{}

	mu       sync.Mutex
	failing  bool      // to log each change once
	answered time.Time // last answer
	until    time.Time // end of the backoff
}

// A runtimeError is an error with text of a runtime, or of a process that has replaced its
// socket. Its text is printable and bounded.
type runtimeError struct{ error }

// maxErrorBytes is the maximum length of a runtimeError.
const maxErrorBytes = 512

func (e runtimeError) Error() string { return printable.Text([]byte(e.error.Error()), maxErrorBytes) }

func (e runtimeError) Unwrap() error { return e.error }

// errBackoff is returned without a request, because a recent one timed out.
var errBackoff = errors.New("a recent request timed out")

func newBackend(s socket, annotations []string, log *slog.Logger, m *metrics) *backend {
	b := &backend{socket: s, log: log, metrics: m, slots: make(chan struct{}, maxRequests)}
	switch path.Base(s.path) {
	case "docker.sock", "podman.sock":
		b.api = newDocker(s)
	default:
		b.api = newCRI(s, annotations)
	}
	return b
}

// lookup looks up a container, within two seconds. The error is container.ErrUnknown if the runtime
// does not know it, and errNoSocket if the runtime does not exist.
func (b *backend) lookup(ctx context.Context, id string) (*container.Container, error) {
	if !b.socket.exists() {
		return nil, errNoSocket
	}
	began := time.Now()
	c, err := b.requestInSlot(ctx, id)
	b.metrics.observe(b.kind(), err, time.Since(began))
	if err != nil && !errors.Is(err, container.ErrUnknown) {
		err = fmt.Errorf("querying %s: %w", b.socket.path, err)
	}
	return c, err
}

// requestInSlot waits for a free slot and sends a request.
func (b *backend) requestInSlot(ctx context.Context, id string) (*container.Container, error) {
	waiting, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	case <-waiting.Done():
		return nil, waiting.Err()
	}
	if b.backingOff() {
		return nil, errBackoff
	}
	return b.request(ctx, id)
}

func (b *backend) request(ctx context.Context, id string) (*container.Container, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	began := time.Now()
	c, err := b.container(ctx, id)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause // gRPC's error does not wrap it
	} else if err != nil && !errors.Is(err, container.ErrUnknown) {
		err = runtimeError{err}
	}
	if !errors.Is(err, context.Canceled) {
		b.recordResult(began, err)
	}
	return c, err
}

func (b *backend) backingOff() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Now().Before(b.until)
}

// recordResult records the result of a request, and logs whether the runtime has begun or
// stopped to answer.
func (b *backend) recordResult(began time.Time, err error) {
	ok := err == nil || errors.Is(err, container.ErrUnknown)
	b.mu.Lock()
	now := time.Now()
	switch {
	case ok:
		b.answered = now
	case errors.Is(err, context.DeadlineExceeded) && b.answered.Before(began):
		b.until = now.Add(backoffTime)
	}
	changed := b.failing == ok
	b.failing = !ok
	b.mu.Unlock()
	switch {
	case changed && ok:
		b.log.Info("container runtime answers again", "socket", b.socket.path)
	case changed:
		b.log.Warn("container runtime does not answer", "socket", b.socket.path, "err", err)
	}
}
