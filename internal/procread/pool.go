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
	// maxChildren is how many children read at once.
	maxChildren = 4
	// idleTime is after how long a child that has nothing to do ends. One stays.
	idleTime = 30 * time.Second
	// maxQueue is for how long a read waits for its turn and for a child.
	maxQueue = 5 * time.Second
	// impatience is after how long somebody who waits for a child takes it from a read
	// that hangs.
	impatience = 20 * time.Millisecond
	// deathTime is after how long a killed child counts as left behind.
	deathTime = 100 * time.Millisecond
	// maxLeft and maxLeftByOwner are how many children may be left behind until memory
	// is not read any more, by anybody and for an owner. What else children read can
	// be interrupted by SIGKILL.
	maxLeft        = 16
	maxLeftByOwner = 2
	// closeTime is for how long Close waits for the end of children.
	closeTime = 300 * time.Millisecond
	// tick is the time between two looks at what can be ended and forgotten.
	tick = 5 * time.Second
	// sayInterval is the time between two lines about one owner, and pause between any.
	sayInterval = time.Minute
	sayPause    = time.Second
)

var (
	errClosed = errors.New("the reader is closed")
	// errYield says that a child was taken from a read because others waited.
	errYield = fmt.Errorf("%w while others wait", errSilent)
)

// A pool has the children of a Reader, and shares them among owners.
type pool struct {
	log   *slog.Logger
	done  chan struct{} // closed by close
	wake  chan struct{} // holds a token when there is something to do for keep
	ended chan struct{} // closed when keep has returned

	mu      sync.Mutex
	closed  bool
	idle    []*child // the last one is the next to be used
	busy    []*child // the eldest read first
	started int      // children that are idle, busy, or about to be started
	waiting []chan *child
	dying   []*burial
	owners  map[string]*owner
	stats   Stats
	lines   []line
	saidAt  time.Time
}

// Stats are numbers about a Reader.
type Stats struct {
	Children   int    // processes that read, at work or idle
	LeftBehind int    // those that do not end although they were killed
	TimedOut   uint64 // reads that were given up
}

// A burial is a child that was killed and is to be reaped.
type burial struct {
	*child
	killed time.Time
	owner  *owner // whose process it read; nil for none
	left   bool   // it counts as left behind
}

// A line is for the log.
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
	go p.keep()
	return p
}

// get returns a child that waits for requests.
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
	hurry := time.NewTicker(impatience)
	defer hurry.Stop()
	for {
		select {
		case c := <-next:
			if c == nil {
				return p.start()
			}
			return c, nil
		case <-hurry.C:
			p.hurry(next)
		case <-ctx.Done():
			return nil, p.giveUp(next, fmt.Errorf("%w: others come before it: %w", ErrStuck, ctx.Err()))
		case <-p.done:
			return nil, p.giveUp(next, errClosed)
		}
	}
}

// giveUp takes somebody who waits out of the queue.
func (p *pool) giveUp(next chan *child, err error) error {
	p.mu.Lock()
	i := slices.Index(p.waiting, next)
	if i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		p.mu.Unlock()
		return err
	}
	// It was served in the same moment.
	c := <-next
	if c != nil {
		p.busy = slices.DeleteFunc(p.busy, func(other *child) bool { return other == c })
	}
	p.pass(c)
	p.mu.Unlock()
	return err
}

// hurry ends the read that hangs the longest, if whoever is the first to wait asks.
func (p *pool) hurry(next chan *child) {
	p.mu.Lock()
	busy := slices.Clone(p.busy)
	first := len(p.waiting) > 0 && p.waiting[0] == next
	p.mu.Unlock()
	if !first {
		return
	}
	for _, c := range busy { // the eldest first
		if c.yield(impatience) {
			return
		}
	}
}

// start starts a child, whose place is counted already.
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

// put takes a child back from a read for an owner.
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

// drop kills a child, if there is one, and gives its place to somebody else. The lock is
// held.
func (p *pool) drop(c *child, o *owner) {
	if c != nil {
		c.kill()
		p.dying = append(p.dying, &burial{child: c, killed: time.Now(), owner: o})
		p.wakeUp()
	}
	p.pass(nil)
}

// pass gives a child to the first one who waits: nil is the place for a new one. The lock
// is held.
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
