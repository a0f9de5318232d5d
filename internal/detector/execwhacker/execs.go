package execwhacker

import (
	"context"
	"sync"
	"time"
)

// At log level debug each exec that no rule matches has a line, up to these numbers a minute: in
// total, and of one owner (see cgroup.Cgroup), so that those of others are still seen.
const (
	execWindow    = time.Minute
	maxExecs      = 30_000
	maxOwnerExecs = 3000
)

// execLimit limits the lines of execs. It is safe for concurrent use.
type execLimit struct {
	mu      sync.Mutex
	lines   int            // in this window
	owners  map[string]int // their lines in this window; at most maxExecs owners
	dropped uint64         // since the start
}

func (l *execLimit) admit(owner string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lines == maxExecs || l.owners[owner] == maxOwnerExecs {
		l.dropped++
		return false
	}
	if l.owners == nil {
		l.owners = make(map[string]int)
	}
	l.lines++
	l.owners[owner]++
	return true
}

// renew begins the next window.
func (l *execLimit) renew() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines, l.owners = 0, nil
}

func (l *execLimit) count() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// logExec logs an exec that no rule matches.
func (d *Detector) logExec(e event) {
	g := d.generations.Load().find(e.generation)
	if g != nil && d.execLimit.admit(e.Cgroup.Owner) {
		d.Judge.ReportExec(e.Event, e.line(g))
	}
}

// limitExecs renews the limit until ctx ends, and logs how many execs have no line.
func (d *Detector) limitExecs(ctx context.Context) error {
	tick := time.NewTicker(execWindow)
	defer tick.Stop()
	said := uint64(0)
	for ended := false; !ended; {
		select {
		case <-ctx.Done():
			ended = true
		case <-tick.C:
			d.execLimit.renew()
		}
		k, err := d.kernelCounts()
		if err != nil {
			return err
		}
		if n := d.execLimit.count() + k.Counters[bpfOwnCounterLOST_EXEC]; n != said {
			d.Log.Warn("execs not logged", "detector", Name, "execs", n-said)
			said = n
		}
	}
	return nil
}
