package procread

import (
	"slices"
	"time"

	"github.com/cryptnono/cryptnono/internal/printable"
)

// keep reaps children, ends those that nobody needs, forgets owners and writes to the
// log, until the pool is closed. Nothing that reads waits for it.
func (p *pool) keep() {
	defer close(p.ended)
	var closing time.Time
	for wait := tick; ; {
		select {
		case <-p.wake:
		case <-time.After(wait):
		case <-p.done:
			if closing.IsZero() {
				closing = time.Now()
			} else {
				time.Sleep(time.Millisecond)
			}
		}
		for _, l := range p.takeLines() {
			p.log.Warn("a process keeps its command line or environment from being read",
				"owner", printable.Text([]byte(l.owner), maxEnvValue), "pid", l.pid, "times", l.times)
		}
		next, over := p.look(time.Now())
		if !closing.IsZero() && (over || time.Since(closing) > closeTime) {
			return
		}
		wait = next
	}
}

func (p *pool) takeLines() []line {
	p.mu.Lock()
	defer p.mu.Unlock()
	lines := p.lines
	p.lines = nil
	return lines
}

// look does what is to be done now, and returns after which time to look again, and
// whether no child is left.
func (p *pool) look(now time.Time) (wait time.Duration, over bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dying = slices.DeleteFunc(p.dying, func(b *burial) bool { return p.gone(b, now) })
	// The one that was used last stays.
	for len(p.idle) > 1 && now.Sub(p.idle[0].idleSince) > idleTime {
		c := p.idle[0]
		p.idle = p.idle[1:]
		p.drop(c, nil)
	}
	for name, o := range p.owners {
		if o.forgotten(now) || len(p.owners) > maxOwners && o.users == 0 && o.left == 0 {
			delete(p.owners, name)
		}
	}
	wait = tick
	for _, b := range p.dying {
		// Twice the age makes few looks of a long life.
		wait = min(wait, max(time.Millisecond, now.Sub(b.killed)/2))
	}
	return wait, len(p.dying)+len(p.idle)+len(p.busy) == 0
}

// gone reports whether a child that was killed has ended, and otherwise counts it as left
// behind after a while. The lock is held.
func (p *pool) gone(b *burial, now time.Time) bool {
	count := 0
	gone := b.reap()
	switch {
	case gone && b.left:
		count = -1
	case !gone && !b.left && now.Sub(b.killed) > deathTime:
		count = 1
	}
	b.left = b.left || count > 0
	p.stats.LeftBehind += count
	if b.owner != nil {
		b.owner.left += count
	}
	return gone
}

// close ends all reads and all children. It does not wait for long for those that do not
// end.
func (p *pool) close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.done)
		for _, c := range p.busy {
			c.abort(errClosed)
		}
		idle := p.idle
		p.idle = nil
		for _, c := range idle {
			p.drop(c, nil)
		}
	}
	p.mu.Unlock()
	select {
	case <-p.ended:
	case <-time.After(2 * closeTime): // the log may hang
	}
}

// Stats returns the numbers as they are now.
func (r *Reader) Stats() Stats {
	p := r.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Children = len(p.idle) + len(p.busy)
	return s
}
