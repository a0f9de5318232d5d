package container

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"sync"
	"time"

	"github.com/cryptnono/cryptnono/internal/printable"
)

const (
	// requestTimeout is how long a runtime may take to answer, and how long a
	// question may wait for its turn before.
	requestTimeout = time.Second
	// maxRequests is how many questions a runtime is asked at once.
	maxRequests = 8
	// rest is how long a runtime that did not answer is left alone.
	rest = time.Second
)

// An api is how a kind of runtime is asked. Container returns ErrUnknown if the
// runtime has no container of this id.
type api interface {
	kind() string
	container(ctx context.Context, id string) (*Container, error)
	close() error
}

// A backend is a runtime that this host has or may have.
type backend struct {
	api
	socket  socket
	log     *slog.Logger
	metrics *metrics
	slots   chan struct{}

	mu       sync.Mutex
	failing  bool      // so that it is logged once
	answered time.Time // last
	until    time.Time // not to be asked before
}

// An answerError is one in whose text a runtime may have a say, or whoever answers in its
// place. It is safe to print, and bounded.
type answerError struct{ error }

// maxErrorBytes is how long the text of an error of a runtime is.
const maxErrorBytes = 512

func (e answerError) Error() string { return printable.Text([]byte(e.error.Error()), maxErrorBytes) }

func (e answerError) Unwrap() error { return e.error }

// errResting is of a runtime that is not asked, since it did not answer just
// now.
var errResting = errors.New("did not answer lately")

func newBackend(s socket, log *slog.Logger, m *metrics) *backend {
	b := &backend{socket: s, log: log, metrics: m, slots: make(chan struct{}, maxRequests)}
	switch path.Base(s.path) {
	case "docker.sock", "podman.sock":
		b.api = newDocker(s)
	default:
		b.api = newCRI(s)
	}
	return b
}

// find asks for a container, for two seconds at most. The error is ErrUnknown if
// the runtime answered, and errAbsent if there is none.
func (b *backend) find(ctx context.Context, id string) (*Container, error) {
	if !b.socket.there() {
		return nil, errAbsent
	}
	began := time.Now()
	c, err := b.takeTurn(ctx, id)
	b.metrics.asked(b.kind(), err, time.Since(began))
	if err != nil && !errors.Is(err, ErrUnknown) {
		err = fmt.Errorf("asking %s: %w", b.socket.path, err)
	}
	return c, err
}

func (b *backend) takeTurn(ctx context.Context, id string) (*Container, error) {
	turn, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	case <-turn.Done():
		return nil, turn.Err()
	}
	if b.resting() {
		return nil, errResting
	}
	return b.ask(ctx, id)
}

func (b *backend) ask(ctx context.Context, id string) (*Container, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	began := time.Now()
	c, err := b.container(ctx, id)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause // what gRPC makes of it wraps nothing
	} else if err != nil && !errors.Is(err, ErrUnknown) {
		err = answerError{err}
	}
	if !errors.Is(err, context.Canceled) {
		b.note(began, err)
	}
	return c, err
}

func (b *backend) resting() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Now().Before(b.until)
}

// note takes down how a question ended that was asked at a time, and logs a
// change for the better or worse.
func (b *backend) note(asked time.Time, err error) {
	well := err == nil || errors.Is(err, ErrUnknown)
	b.mu.Lock()
	now := time.Now()
	switch {
	case well:
		b.answered = now
	case errors.Is(err, context.DeadlineExceeded) && b.answered.Before(asked):
		b.until = now.Add(rest)
	}
	changed := b.failing == well
	b.failing = !well
	b.mu.Unlock()
	switch {
	case changed && well:
		b.log.Info("container runtime answers again", "socket", b.socket.path)
	case changed:
		b.log.Warn("container runtime does not answer", "socket", b.socket.path, "err", err)
	}
}
