package notify

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// maxQueued is the size of a receiver's queue in bytes of log lines, and maxMessages in
	// messages.
	maxQueued, maxMessages = 1 << 20, 4096
	// maxAge is the age at which a message is lost. An older one is of little use, and may be
	// about a pod that has another name by now.
	maxAge = 10 * time.Minute
	// minPause and maxPause bound the pause after a failed attempt, which doubles with each.
	// A receiver can ask for up to maxRetryAfter.
	minPause, maxPause, maxRetryAfter = time.Second, 30 * time.Second, 5 * time.Minute
	// minFailures is the time between two lines about a receiver that begins to fail: one that
	// refuses a message between others that it accepts begins with each.
	minFailures = time.Minute
)

// A sender sends messages to one receiver, in one goroutine, one after the other.
//
// A failure does not say whether the receiver is down or cannot take this message: a text can
// crash it. The attempt with a message of another owner says so. So that is the next one, at the
// first failure already, and an owner whose messages fail comes after those whose do not. If the
// receiver is down, the others fail too, and the pauses grow with each attempt, of whichever owner.
type sender struct {
	*client
	log                *slog.Logger
	sent, failed, lost prometheus.Counter
	wake               chan struct{}
	done               chan struct{}   // closed when the goroutine has ended
	ctx                context.Context //nolint:containedctx // ends with the sender
	cancel             context.CancelFunc

	mu       sync.Mutex
	queue    []*message // with the one that is sent; only the goroutine moves and removes
	size     int        // of the lines in queue
	draining bool

	// Only for the goroutine:
	backoff                    // of the receiver
	owners  map[string]backoff // in queue whose last attempt failed
	failing bool               // to log each change once
	warned  time.Time          // of the last change to failing
}

// A backoff is the pause after failed attempts. It is zero after one that succeeded.
type backoff struct {
	pause time.Duration
	ready time.Time // its end
}

// longer returns the pause after a further failure.
func (b backoff) longer(now time.Time) backoff {
	pause := min(max(2*b.pause, minPause), maxPause)
	return backoff{pause, now.Add(pause)}
}

// newSender returns a sender. Its run must be called, and its end.
func newSender(c *client, log *slog.Logger, sent, failed, lost prometheus.Counter) *sender {
	s := &sender{client: c, log: log, sent: sent, failed: failed, lost: lost, owners: make(map[string]backoff), wake: make(chan struct{}, 1), done: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// push queues a message. It does not block.
func (s *sender) push(m *message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(m.line.raw)
	if s.draining || s.size+n > maxQueued || len(s.queue) == maxMessages {
		s.lost.Inc()
		return
	}
	m.owner = m.line.owner()
	s.queue, s.size = append(s.queue, m), s.size+n
	s.wakeUp()
}

func (s *sender) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default: // already woken
	}
}

// next waits until a message can be sent. It returns nil when the sender has to end.
func (s *sender) next() *message {
	for {
		s.mu.Lock()
		m, wait := s.first(time.Now())
		ended := m == nil && s.draining
		s.mu.Unlock()
		if m != nil || ended {
			return m
		}
		var ready <-chan time.Time
		if wait > 0 {
			ready = time.After(wait)
		}
		select {
		case <-ready:
		case <-s.wake: // by a message, or to end
		}
	}
}

// first returns the first message of those owners whose pause ended first, or never began; or how
// long the pauses take. At the end there are none.
func (s *sender) first(now time.Time) (m *message, wait time.Duration) {
	switch wait := s.ready.Sub(now); {
	case len(s.queue) == 0:
		return nil, 0
	case s.draining:
		return s.queue[0], 0
	case wait > 0:
		return nil, wait
	case len(s.owners) == 0: // as usual
		return s.queue[0], 0
	}
	m = slices.MinFunc(s.queue, func(a, b *message) int { return s.owners[a.owner].ready.Compare(s.owners[b.owner].ready) })
	if wait = s.owners[m.owner].ready.Sub(now); wait > 0 {
		return nil, wait
	}
	return m, 0
}

func (s *sender) run() {
	defer close(s.done)
	defer s.close()
	for m := s.next(); m != nil; m = s.next() {
		s.attempt(m)
	}
}

// attempt tries to send a message. It removes it if it is sent or lost. Else it begins a pause.
func (s *sender) attempt(m *message) {
	if s.ctx.Err() != nil || time.Since(m.queued) > maxAge {
		s.lost.Inc()
		s.remove(m)
		return
	}
	err := s.send(s.ctx, m)
	if err == nil {
		s.sent.Inc()
		s.remove(m)
		s.backoff = backoff{}
		delete(s.owners, m.owner)
		s.record(nil)
		return
	}
	s.failed.Inc()
	s.record(err)
	s.close()
	if final(err) || s.isDraining() {
		s.lost.Inc()
		s.remove(m)
		return
	}
	now := time.Now()
	s.backoff, s.owners[m.owner] = s.longer(now), s.owners[m.owner].longer(now)
	if status, ok := errors.AsType[*statusError](err); ok && status.retryAfter > s.pause {
		s.ready = now.Add(min(status.retryAfter, maxRetryAfter))
	}
	s.postpone(m)
}

// remove removes a message from the queue.
func (s *sender) remove(m *message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.queue, m)
	s.queue, s.size = slices.Delete(s.queue, i, i+1), s.size-len(m.line.raw)
	if _, failed := s.owners[m.owner]; failed && !slices.ContainsFunc(s.queue, func(q *message) bool { return q.owner == m.owner }) {
		delete(s.owners, m.owner)
	}
}

// postpone moves a message to the end of the queue, so also behind the others of its owner.
func (s *sender) postpone(m *message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.queue, m)
	s.queue = append(slices.Delete(s.queue, i, i+1), m)
}

// record logs that the receiver has begun to fail, with its first error, or that it has accepted a
// message and none of an owner that it has failed for is left.
func (s *sender) record(err error) {
	switch {
	case err != nil && !s.failing && time.Since(s.warned) >= minFailures:
		s.log.Warn("receiver of notifications fails", "receiver", s.receiver.Name, "err", err)
		s.failing, s.warned = true, time.Now()
	case err == nil && s.failing && len(s.owners) == 0:
		s.log.Info("receiver of notifications accepts them again", "receiver", s.receiver.Name)
		s.failing = false
	}
}

func (s *sender) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// drain makes the sender end after one attempt for each queued message.
func (s *sender) drain() {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	s.wakeUp()
}

// end ends the sender now, or after grace if it still has messages then.
func (s *sender) end(grace time.Duration) {
	s.drain()
	select {
	case <-s.done:
	case <-time.After(grace):
	}
	s.cancel()
	<-s.done
}
