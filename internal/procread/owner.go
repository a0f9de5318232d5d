package procread

import (
	"context"
	"fmt"
	"strings"
	"time"
)

const (
	// maxPatience is the time limit for an answer; a process in swap can need it. Each
	// timeout adds a strike to the owner. Each strike halves the limit for the owner's
	// processes, down to minPatience. A strike expires after strikeLifetime.
	maxPatience    = time.Second
	minPatience    = 10 * time.Millisecond
	strikeLifetime = 10 * time.Second
	// maxStrikes is the number of halvings from maxPatience to minPatience.
	maxStrikes = 7
	// After a timeout, a process is not read for restFactor times the time that the read
	// took. After one of a mapped file, only its files are not, so that the memory of the process
	// can be read although a file hangs.
	restFactor = 4
	// maxResting limits the number of such processes per owner.
	maxResting = 128
	// maxOwners limits the owners without current reads that are kept.
	maxOwners = 4096
)

// An owner is a container or user whose processes share a limit of reads. Its fields are
// protected by pool.mu.
type owner struct {
	name string
	// turn is held during a read: an owner has one read at a time.
	turn       chan struct{}
	users      int // goroutines that hold turn or wait for it
	strikes    int
	last       time.Time              // of the last strike, or when one expired
	resting    map[instance]time.Time // processes that are not read until then
	leftBehind int                    // children left behind in its reads
	// Timeouts of ReadMany, the time of the last one, and the time until which ReadMany
	// refuses the owner.
	batchTimeouts                     int
	batchTimeoutAt, batchesPausedTill time.Time
	unlogged                          int       // strikes since the last log line
	logged                            time.Time // when that line was written
}

// evidenceSuffix marks the names of owners whose reads are not for verdicts.
const evidenceSuffix = " evidence"

// ForEvidence returns the name of an owner for reads that are not for verdicts. They have turns and
// time limits of their own, and leave half as many children behind.
func ForEvidence(owner string) string { return owner + evidenceSuffix }

// patience returns the time limit for an answer about one of its processes.
func (o *owner) patience(now time.Time) time.Duration {
	o.expireStrikes(now)
	return max(maxPatience>>o.strikes, minPatience)
}

func (o *owner) expireStrikes(now time.Time) {
	n := int(now.Sub(o.last) / strikeLifetime)
	if n >= o.strikes {
		o.strikes = 0
	} else if n > 0 {
		o.strikes -= n
		o.last = o.last.Add(time.Duration(n) * strikeLifetime)
	}
}

// strike records a timeout.
func (o *owner) strike(who instance, patience time.Duration, now time.Time) {
	o.expireStrikes(now)
	o.strikes = min(o.strikes+1, maxStrikes)
	o.last = now
	if o.resting == nil {
		o.resting = make(map[instance]time.Time)
	}
	for other, until := range o.resting {
		if len(o.resting) >= maxResting || now.After(until) {
			delete(o.resting, other)
		}
	}
	o.resting[who] = now.Add(restFactor * patience)
}

// rests reports whether a process must not be read yet.
func (o *owner) rests(who instance, now time.Time) bool {
	until, ok := o.resting[who]
	if ok && now.After(until) {
		delete(o.resting, who)
		ok = false
	}
	return ok
}

// removable reports whether the owner can be removed, because it has no state.
func (o *owner) removable(now time.Time) bool {
	o.expireStrikes(now)
	return o.users == 0 && o.leftBehind == 0 && o.strikes == 0 && now.Sub(o.batchTimeoutAt) > batchPause
}

// enter waits for the turn of an owner. Call leave after the read.
func (p *pool) enter(ctx context.Context, name string) (*owner, error) {
	p.mu.Lock()
	o := p.owners[name]
	if o == nil {
		o = &owner{name: name, turn: make(chan struct{}, 1)}
		p.owners[name] = o
	}
	o.users++
	p.mu.Unlock()
	select {
	case o.turn <- struct{}{}:
		return o, nil
	case <-p.done:
		p.exit(o)
		return nil, errClosed
	case <-ctx.Done():
		p.exit(o)
		return nil, fmt.Errorf("%w: waiting for other reads of this owner: %w", ErrStuck, ctx.Err())
	}
}

func (p *pool) leave(o *owner) {
	<-o.turn
	p.exit(o)
}

func (p *pool) exit(o *owner) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o.users--
	if o.removable(time.Now()) {
		delete(p.owners, o.name)
	}
}

// timedOut records a timeout and schedules a log line.
func (p *pool) timedOut(o *owner, who instance, patience time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.stats.TimedOut++
	o.strike(who, patience, now)
	o.unlogged++
	if now.Sub(o.logged) < logInterval || now.Sub(p.lineAt) < logPause || len(p.lines) > 0 {
		return
	}
	p.lines = append(p.lines, line{o.name, who.pid, o.unlogged})
	o.logged, p.lineAt, o.unlogged = now, now, 0
	p.wakeUp()
}

// allow returns the time limit for an answer about a process, or ErrStuck if a read of the
// process timed out recently.
func (p *pool) allow(o *owner, who instance) (patience time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if o.rests(who, now) || o.rests(instance{who.pid, who.start, false}, now) {
		return 0, fmt.Errorf("%w: a read timed out recently", ErrStuck)
	}
	return o.patience(now), nil
}

// mayHang reports whether too many children were left behind to read the mapped files, or the
// memory, of an owner's processes.
func (p *pool) mayHang(o *owner) (files, memory bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all, own := p.stats.LeftBehind, o.leftBehind
	if strings.HasSuffix(o.name, evidenceSuffix) {
		all, own = 2*all, 2*own
	}
	return all >= maxFilesLeftBehind || own >= maxFilesLeftBehindByOwner, all >= maxLeftBehind || own >= maxLeftBehindByOwner
}
