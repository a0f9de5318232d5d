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
	// startTime is how long the start of a child may take on a busy machine.
	startTime = 10 * time.Second
	// slowFactor is for how many times as long as one answer all of them may take while
	// others wait.
	slowFactor = 4
	// maxWait is for how long one read may wait for its child in all.
	maxWait = 10 * time.Second
)

var (
	// errSilent says that a child had no answer in time.
	errSilent = errors.New("no answer in time")
	// errEnded says that a child has ended without our doing.
	errEnded = errors.New("the process that reads others has ended")
)

// A child is a process of this program that reads files for us. It is for one goroutine
// at a time, but for abort and yield.
type child struct {
	pid, tid  int
	requests  *os.File
	answers   *os.File
	in        *bufio.Reader
	frame     []byte
	idleSince time.Time

	mu       sync.Mutex
	aborted  error     // why its answers are of no use any more
	waiting  time.Time // since when an answer is waited for; zero if none is
	patience time.Duration
	waited   time.Duration // for answers, in this exchange
	exchange int           // its number
}

// begin begins an exchange, in which each answer may take as long as patience.
func (c *child) begin(patience time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.exchange++
	c.patience, c.waited = patience, 0
}

// ask sends a request and gives all data of the answer to visit, whose error ends it.
// Its flags are returned. Of the end of ctx the error is ErrStuck.
func (c *child) ask(ctx context.Context, q request, patience time.Duration, visit func([]byte) error) (flags byte, err error) {
	c.begin(patience)
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		err := ctx.Err()
		if c.blocked() { // nobody knows how much longer it would have been
			err = fmt.Errorf("%w: %w", errSilent, err)
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

// broken marks the child as of no use any more, and returns why.
func (c *child) broken(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.aborted == nil {
		if errors.Is(err, io.EOF) || errors.Is(err, unix.EPIPE) {
			err = errEnded
		}
		c.aborted = err
	}
	return c.aborted
}

// abort makes the exchange that is under way fail with err.
func (c *child) abort(err error) {
	_ = c.broken(err)
	c.interrupt()
}

// interrupt makes the reads and writes fail that are under way.
func (c *child) interrupt() {
	past := time.Unix(1, 0)
	_ = c.answers.SetReadDeadline(past)
	_ = c.requests.SetWriteDeadline(past)
}

// usable reports whether nothing has gone wrong yet.
func (c *child) usable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.aborted == nil
}

// Read reads answers, and waits for them within the limits of the exchange.
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
			return 0, errSilent
		}
		// It may have answered while it was us who got no CPU.
		last = c.blocked() || c.late(began)
	}
}

// wait sets the time until which a read waits.
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
	// The lock makes sure that abort comes after this.
	return c.answers.SetReadDeadline(time.Now().Add(limit))
}

// late reports whether the whole exchange has taken too long.
func (c *child) late(began time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waited+time.Since(began) > max(maxWait, c.patience)
}

// yield ends an exchange of which an answer has been waited for as long as limit, while the
// child waits for somebody else; or which has lasted many times as long. It returns whether
// it has done so.
func (c *child) yield(limit time.Duration) bool {
	now := time.Now()
	c.mu.Lock()
	exchange := c.exchange
	slow := c.waited > max(slowFactor*c.patience, mostPatience)
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
	c.aborted = errYield
	c.interrupt()
	return true
}

// blocked reports whether the thread that reads waits for something. If it does not, it
// wants for a CPU, or has just come to an end.
func (c *child) blocked() bool {
	running, err := process.IsRunning(c.pid, c.tid)
	return err != nil || !running
}

// answered reports whether there is an answer that we have not read yet.
func (c *child) answered() bool {
	there := false
	raw, err := c.answers.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			there = n > 0 && err == nil
		})
	}
	return there && err == nil
}

// kill sends SIGKILL. The child is to be reaped afterwards.
func (c *child) kill() {
	c.requests.Close()
	c.answers.Close()
	_ = unix.Kill(c.pid, unix.SIGKILL)
}

// reap reports whether the child has ended.
func (c *child) reap() bool {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(c.pid, &status, unix.WNOHANG, nil)
		if !errors.Is(err, unix.EINTR) {
			return err != nil || pid == c.pid && (status.Exited() || status.Signaled())
		}
	}
}
