package procread

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
)

const (
	// startTime is the time limit for the start of a child, also on a busy machine.
	startTime = 10 * time.Second
	// slowFactor times the time limit of one answer is the limit of all answers of a
	// request, while other reads wait for a child.
	slowFactor = 4
	// maxWait is the time limit for all answers of a request.
	maxWait = 10 * time.Second
)

var (
	// errTimeout: a child has not answered in time.
	errTimeout = errors.New("no answer in time")
	// errEnded: a child has ended, but was not killed by the agent.
	errEnded = errors.New("the reader process has ended")
)

// A child is a child process that reads files about other processes. Only abort and
// preempt may be called concurrently with other methods.
type child struct {
	pid, tid  int
	requests  *os.File
	answers   *os.File
	in        *bufio.Reader
	frame     []byte
	idleSince time.Time

	mu       sync.Mutex
	aborted  error         // why the child cannot be used any longer
	waiting  time.Time     // since when Read waits for an answer; zero if it does not
	patience time.Duration // time limit of each answer
	waited   time.Duration // for all answers of this exchange
	exchange int           // number of the current request with its answers
}

// begin begins an exchange, in which each answer must arrive within patience.
func (c *child) begin(patience time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.exchange++
	c.patience, c.waited = patience, 0
}

// do sends a request and calls visit with the data of the answer, in pieces, until visit
// returns an error. It returns the flags of the answer. If ctx ends, the error is
// ErrStuck.
func (c *child) do(ctx context.Context, q request, patience time.Duration, visit func([]byte) error) (flags byte, err error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrStuck, err)
	}
	c.begin(patience)
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		err := ctx.Err()
		if c.awaited() && c.blocked() && !c.answered() { // by the process, so it counts as a timeout
			err = fmt.Errorf("%w: %w", errTimeout, err)
		}
		c.abort(fmt.Errorf("%w: %w", ErrStuck, err))
	})
	defer func() {
		if !stop() {
			<-ended
		}
	}()
	if err := c.requests.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	if _, err := c.requests.Write(q.encode()); err != nil {
		return 0, c.broken(err)
	}
	flags, err = readAnswer(c.in, c.frame, visit)
	if _, ok := errors.AsType[fileError](err); err != nil && !ok {
		err = c.broken(err)
	}
	return flags, err
}

// broken marks the child as unusable and returns the reason.
func (c *child) broken(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.aborted == nil {
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, unix.EPIPE):
			err = errEnded
		case errors.Is(err, os.ErrDeadlineExceeded): // this process got no CPU; no fault of the one to be read
			err = fmt.Errorf("%w: %w", ErrStuck, err)
		}
		c.aborted = err
	}
	return c.aborted
}

// abort makes the current exchange fail with err.
func (c *child) abort(err error) {
	_ = c.broken(err)
	c.interrupt()
}

// interrupt makes current reads and writes fail.
func (c *child) interrupt() {
	past := time.Unix(1, 0)
	_ = c.answers.SetReadDeadline(past)
	_ = c.requests.SetWriteDeadline(past)
}

// usable reports whether the child can be used for another request.
func (c *child) usable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.aborted == nil
}

// Read implements io.Reader for answers, with the time limits of the exchange.
func (c *child) Read(b []byte) (int, error) {
	began := time.Now()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.waited += time.Since(began)
		c.waiting = time.Time{}
	}()
	for last := false; ; {
		if err := c.wait(began, last); err != nil {
			return 0, err
		}
		n, err := c.answers.Read(b)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		} else if last {
			return 0, errTimeout
		}
		// The child may have answered while this process got no CPU time.
		last = c.blocked() || c.late(began)
	}
}

// wait sets the read deadline.
func (c *child) wait(began time.Time, last bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.aborted != nil {
		return c.aborted
	}
	c.waiting = began
	limit := c.patience
	if last {
		limit = time.Millisecond
	}
	// Under the lock, so that abort can override the deadline.
	return c.answers.SetReadDeadline(time.Now().Add(limit))
}

// late reports whether the whole exchange has exceeded its time limit.
func (c *child) late(began time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waited+time.Since(began) > max(maxWait, c.patience)
}

// preempt aborts an exchange if an answer is overdue by limit while the child is blocked,
// or if all answers together have taken too long. It reports whether it has done so.
func (c *child) preempt(limit time.Duration) bool {
	now := time.Now()
	c.mu.Lock()
	exchange := c.exchange
	slow := c.waited > max(slowFactor*c.patience, maxPatience)
	stalled := slow || !c.waiting.IsZero() && now.Sub(c.waiting) > limit
	c.mu.Unlock()
	if !stalled || !slow && (!c.blocked() || c.answered()) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.exchange != exchange || c.aborted != nil || c.waiting.IsZero() {
		return false
	}
	c.aborted = errPreempted
	c.interrupt()
	return true
}

// awaited reports whether Read waits for an answer: the request was sent.
func (c *child) awaited() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.waiting.IsZero()
}

// blocked reports whether the child's reading thread sleeps. If not, it runs or waits for
// a CPU.
func (c *child) blocked() bool {
	running, err := process.IsRunning(c.pid, c.tid)
	return err != nil || !running
}

// answered reports whether the pipe has an unread answer.
func (c *child) answered() bool {
	ready := false
	raw, err := c.answers.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			ready = n > 0 && err == nil
		})
	}
	return ready && err == nil
}

// kill sends SIGKILL. Call reap afterwards.
func (c *child) kill() {
	c.requests.Close()
	c.answers.Close()
	_ = unix.Kill(c.pid, unix.SIGKILL)
}

// reap reports whether the child has ended, and reaps it.
func (c *child) reap() bool {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(c.pid, &status, unix.WNOHANG, nil)
		if !errors.Is(err, unix.EINTR) {
			return err != nil || pid == c.pid && (status.Exited() || status.Signaled())
		}
	}
}
