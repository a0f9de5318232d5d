package notify

import (
	"context"
	"errors"
	"log/slog"
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
)

// A sender sends messages to one receiver, in one goroutine, one after the other.
type sender struct {
	*client
	log                *slog.Logger
	sent, failed, lost prometheus.Counter
	wake               chan struct{}
	done               chan struct{}   // closed when the goroutine has ended
	ctx                context.Context //nolint:containedctx // ends with the sender
	cancel             context.CancelFunc

	mu       sync.Mutex
	queue    []*message
	size     int // of the lines in queue
	draining bool

	failing bool // only for the goroutine: to log each change once
}

// newSender returns a sender. Its run must be called, and its end.
func newSender(c *client, log *slog.Logger, sent, failed, lost prometheus.Counter) *sender {
	s := &sender{client: c, log: log, sent: sent, failed: failed, lost: lost, wake: make(chan struct{}, 1), done: make(chan struct{})}
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
	s.queue, s.size = append(s.queue, m), s.size+n
	s.wakeUp()
}

func (s *sender) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default: // already woken
	}
}

// next waits for a message. It returns nil when the sender has to end.
func (s *sender) next() *message {
	for {
		s.mu.Lock()
		if len(s.queue) > 0 {
			m := s.queue[0]
			s.queue[0] = nil
			s.queue, s.size = s.queue[1:], s.size-len(m.line.raw)
			s.mu.Unlock()
			return m
		}
		ended := s.draining
		s.mu.Unlock()
		if ended {
			return nil
		}
		<-s.wake
	}
}

func (s *sender) run() {
	defer close(s.done)
	defer s.close()
	pause := minPause
	for m := s.next(); m != nil; m = s.next() {
		for !s.attempt(m, &pause) {
		}
	}
}

// attempt tries to send a message, and after an error waits. It returns true if the message
// is sent or lost.
func (s *sender) attempt(m *message, pause *time.Duration) bool {
	if s.ctx.Err() != nil || time.Since(m.queued) > maxAge {
		s.lost.Inc()
		return true
	}
	err := s.send(s.ctx, m)
	if err == nil {
		s.sent.Inc()
		s.record(nil)
		*pause = minPause
		return true
	}
	s.failed.Inc()
	s.record(err)
	s.close()
	if final(err) || s.isDraining() {
		s.lost.Inc()
		return true
	}
	wait := *pause
	if status, ok := errors.AsType[*statusError](err); ok && status.retryAfter > wait {
		wait = min(status.retryAfter, maxRetryAfter)
	}
	*pause = min(2**pause, maxPause)
	s.sleep(wait)
	return false
}

// sleep waits, until the sender has to end.
func (s *sender) sleep(wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for !s.isDraining() {
		select {
		case <-timer.C:
			return
		case <-s.wake: // by a message, or to end
		}
	}
}

// record logs whether the receiver has begun or ceased to accept messages.
func (s *sender) record(err error) {
	switch failing := err != nil; {
	case failing == s.failing:
	case failing:
		s.log.Warn("receiver of notifications fails", "receiver", s.receiver.Name, "err", err)
		s.failing = true
	default:
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
