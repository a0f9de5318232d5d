package procread

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	maxChildren = 4
	// idleTime is the time after which an idle child is ended, except for the last one.
	idleTime = 30 * time.Second
	// maxQueue is the time limit for waiting for a turn and for a child.
	maxQueue = 5 * time.Second
	// stallTime is the time without an answer after which a waiting read may take the
	// child of another read.
	stallTime = 20 * time.Millisecond
	// deathTime is the time after which a killed child counts as left behind.
	deathTime = 100 * time.Millisecond
	// From maxLeftBehind children left behind on, memory is not read; from
	// maxLeftBehindByOwner on, not for that owner. Mapped files, whose file systems can hang
	// as they like, are not read before that, so that they do not keep memory from being
	// read. All other reads of children end with SIGKILL.
	maxLeftBehind             = 16
	maxLeftBehindByOwner      = 4
	maxFilesLeftBehind        = 8
	maxFilesLeftBehindByOwner = 2
	// closeTime is the time limit of Close for the end of children.
	closeTime = 300 * time.Millisecond
	// tick is the time between two calls of cleanUp.
	tick = 5 * time.Second
	// logInterval is the minimum time between two log lines about an owner, logPause
	// between any two.
	logInterval = time.Minute
	logPause    = time.Second
)

var (
	errClosed = errors.New("the reader is closed")
	// errPreempted: a child was taken from a read because other reads waited.
	errPreempted = fmt.Errorf("%w while others wait", errTimeout)
)

// A pool shares the children of a Reader among owners.
type pool struct {
	log   *slog.Logger
	done  chan struct{} // closed by close
	wake  chan struct{} // wakes maintain
	ended chan struct{} // closed when maintain has returned

	mu      sync.Mutex
	closed  bool
	idle    []*child // used from the end
	busy    []*child // the oldest read first
	started int      // children that are idle, busy, or being started
	waiting []chan *child
	killed  []*killedChild
	owners  map[string]*owner
	stats   Stats
	lines   []line
	lineAt  time.Time // of the last line
}

// Stats are numbers about a Reader.
type Stats struct {
	Children   int    // child processes, busy or idle
	LeftBehind int    // killed child processes that have not ended
	TimedOut   uint64 // reads that timed out
}

// A killedChild must be reaped.
type killedChild struct {
	child      *child
	at         time.Time // when it was killed
	owner      *owner    // of the process that it read; nil for none
	leftBehind bool
}

// A line is a log line about timeouts.
type line struct {
	owner      string
	pid, times int
}

func newPool(log *slog.Logger) *pool {
	p := &pool{
		log: log, owners: make(map[string]*owner),
		done: make(chan struct{}), wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	keepDescriptors()
	go p.maintain()
	return p
}

// childFor returns a child for a read that ends with ctx, and waits for it until queue ends. Once ctx
// has ended, no child is given out: the child that does nothing yet would count as stuck, and be killed.
func (p *pool) childFor(ctx, queue context.Context) (*child, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%w: %w", ErrStuck, ctx.Err())
	}
	c, err := p.get(queue)
	if err == nil && ctx.Err() != nil {
		p.put(c, nil)
		return nil, fmt.Errorf("%w: %w", ErrStuck, ctx.Err())
	}
	return c, err
}

// get returns an idle child. It starts one, or waits for one, if necessary.
func (p *pool) get(ctx context.Context) (*child, error) {
	p.mu.Lock()
	switch {
	case p.closed:
		p.mu.Unlock()
		return nil, errClosed
	case len(p.idle) > 0:
		c := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		p.busy = append(p.busy, c)
		p.mu.Unlock()
		return c, nil
	case p.started < maxChildren:
		p.started++
		p.mu.Unlock()
		return p.start()
	}
	next := make(chan *child, 1)
	p.waiting = append(p.waiting, next)
	p.mu.Unlock()
	stalled := time.NewTicker(stallTime)
	defer stalled.Stop()
	for {
		select {
		case c := <-next:
			if c == nil {
				return p.start()
			}
			return c, nil
		case <-stalled.C:
			p.preempt(next)
		case <-ctx.Done():
			return nil, p.leaveQueue(next, fmt.Errorf("%w: waiting for other reads: %w", ErrStuck, ctx.Err()))
		case <-p.done:
			return nil, p.leaveQueue(next, errClosed)
		}
	}
}

// leaveQueue removes a waiting read from the queue and returns err.
func (p *pool) leaveQueue(next chan *child, err error) error {
	p.mu.Lock()
	i := slices.Index(p.waiting, next)
	if i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		p.mu.Unlock()
		return err
	}
	// It has received a child meanwhile.
	c := <-next
	if c != nil {
		p.busy = slices.DeleteFunc(p.busy, func(other *child) bool { return other == c })
	}
	p.pass(c)
	p.mu.Unlock()
	return err
}

// preempt aborts the oldest stalled read, if next is the first in the queue.
func (p *pool) preempt(next chan *child) {
	p.mu.Lock()
	busy := slices.Clone(p.busy)
	first := len(p.waiting) > 0 && p.waiting[0] == next
	p.mu.Unlock()
	if !first {
		return
	}
	for _, c := range busy { // the oldest read first
		if c.preempt(stallTime) {
			return
		}
	}
}

// start starts a child. The caller has counted it in p.started.
func (p *pool) start() (*child, error) {
	c, err := startChild()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil && p.closed {
		err = errClosed
	}
	if err != nil {
		p.drop(c, nil)
		return nil, err
	}
	p.busy = append(p.busy, c)
	return c, nil
}

// put returns a child after a read for an owner.
func (p *pool) put(c *child, o *owner) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy = slices.DeleteFunc(p.busy, func(other *child) bool { return other == c })
	if p.closed || !c.usable() {
		p.drop(c, o)
		return
	}
	c.idleSince = time.Now()
	p.pass(c)
}

// drop kills a child, if it is not nil, and lets a waiting read start another. The caller
// holds p.mu.
func (p *pool) drop(c *child, o *owner) {
	if c != nil {
		c.kill()
		p.killed = append(p.killed, &killedChild{child: c, at: time.Now(), owner: o})
		p.wakeUp()
	}
	p.pass(nil)
}

// pass gives a child to the first waiting read, or to the idle ones. With nil, the waiting
// read starts a child. The caller holds p.mu.
func (p *pool) pass(c *child) {
	switch {
	case len(p.waiting) > 0:
		p.waiting[0] <- c
		p.waiting = p.waiting[1:]
		if c != nil {
			p.busy = append(p.busy, c)
		}
	case c == nil:
		p.started--
	default:
		p.idle = append(p.idle, c)
	}
}

func (p *pool) wakeUp() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}
