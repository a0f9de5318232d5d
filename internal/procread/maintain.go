package procread

import (
	"slices"
	"time"

	"github.com/cryptnono/cryptnono/internal/printable"
)

// maintain reaps children, ends idle ones, removes owners and writes to the log, until the
// pool is closed. Reads do not wait for it.
func (p *pool) maintain() {
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
			p.log.Warn("reading a process timed out",
				"owner", printable.Text([]byte(l.owner), maxEnvValue), "pid", l.pid, "times", l.times)
		}
		next, ended := p.cleanUp(time.Now())
		if !closing.IsZero() && (ended || time.Since(closing) > closeTime) {
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

// cleanUp reaps killed children, ends idle children and removes owners. It returns when to
// call it again, and whether all children have ended.
func (p *pool) cleanUp(now time.Time) (wait time.Duration, ended bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = slices.DeleteFunc(p.killed, func(k *killedChild) bool { return p.reap(k, now) })
	// Keep the one that was used last.
	for len(p.idle) > 1 && now.Sub(p.idle[0].idleSince) > idleTime {
		c := p.idle[0]
		p.idle = p.idle[1:]
		p.drop(c, nil)
	}
	for name, o := range p.owners {
		if o.removable(now) || len(p.owners) > maxOwners && o.users == 0 && o.leftBehind == 0 {
			delete(p.owners, name)
		}
	}
	wait = tick
	for _, k := range p.killed { // with exponential backoff
		wait = min(wait, max(time.Millisecond, now.Sub(k.at)/2))
	}
	return wait, len(p.killed)+len(p.idle)+len(p.busy) == 0
}

// reap reports whether a killed child has ended. If it has not ended after deathTime, reap
// counts it as left behind. The caller holds p.mu.
func (p *pool) reap(k *killedChild, now time.Time) bool {
	count := 0
	ended := k.child.reap()
	switch {
	case ended && k.leftBehind:
		count = -1
	case !ended && !k.leftBehind && now.Sub(k.at) > deathTime:
		count = 1
	}
	k.leftBehind = k.leftBehind || count > 0
	p.stats.LeftBehind += count
	if k.owner != nil {
		k.owner.leftBehind += count
	}
	return ended
}

// close ends all reads and children. It waits at most 2*closeTime for children that do
// not end.
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
	case <-time.After(2 * closeTime): // writing the log can block
	}
}

// Stats returns the current numbers.
func (r *Reader) Stats() Stats {
	p := r.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Children = len(p.idle) + len(p.busy)
	return s
}
