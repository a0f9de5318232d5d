package procread

import (
	"context"
	"fmt"
	"time"
)

const (
	// mostPatience is for how long a process may keep an answer back, with pages that
	// come back from swap. It is halved each time that an owner's process has used it
	// up, and doubled again with each forgiveness that has passed since.
	mostPatience  = time.Second
	leastPatience = 10 * time.Millisecond
	forgiveness   = 10 * time.Second
	// maxStrikes is the number of halvings from one to the other.
	maxStrikes = 7
	// restFactor is for how many times as long as a process kept us waiting it is not
	// read again.
	restFactor = 4
	// maxResting is how many processes of one owner are known to rest.
	maxResting = 128
	// maxOwners is how many owners are known beyond those that read.
	maxOwners = 4096
)

// An owner is whoever is accountable for processes: a container, a user. Its fields are
// under the Reader's lock.
type owner struct {
	name string
	// turn is held while one of its processes is read: never are two at once.
	turn    chan struct{}
	users   int // goroutines that have or want the turn
	strikes int
	last    time.Time // of a strike, or when some were forgiven
	resting map[instance]time.Time
	left    int // children left behind in its reads
	// silent counts the calls of ReadMany that failed, until silentAt. alone is until when
	// there are none.
	silent          int
	silentAt, alone time.Time
	unsaid          int       // strikes that the log has not told of
	said            time.Time // when the log told of one
}

// patience returns for how long its processes may keep an answer back.
func (o *owner) patience(now time.Time) time.Duration {
	o.forgive(now)
	return max(mostPatience>>o.strikes, leastPatience)
}

func (o *owner) forgive(now time.Time) {
	n := int(now.Sub(o.last) / forgiveness)
	if n >= o.strikes {
		o.strikes = 0
	} else if n > 0 {
		o.strikes -= n
		o.last = o.last.Add(time.Duration(n) * forgiveness)
	}
}

// strike notes that a process has used up the patience.
func (o *owner) strike(who instance, patience time.Duration, now time.Time) {
	o.forgive(now)
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

// rests reports whether a process is not to be read yet.
func (o *owner) rests(who instance, now time.Time) bool {
	until, ok := o.resting[who]
	if ok && now.After(until) {
		delete(o.resting, who)
		ok = false
	}
	return ok
}

// forgotten reports whether nothing needs to be known of it any more.
func (o *owner) forgotten(now time.Time) bool {
	o.forgive(now)
	return o.users == 0 && o.left == 0 && o.strikes == 0 && now.Sub(o.silentAt) > aloneTime
}

// enter waits for the turn of an owner, which leave gives back.
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
		return nil, fmt.Errorf("%w: others of its owner come before it: %w", ErrStuck, ctx.Err())
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
	if o.forgotten(time.Now()) {
		delete(p.owners, o.name)
	}
}

// timedOut notes that a process has used up the patience with its owner.
func (p *pool) timedOut(o *owner, who instance, patience time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.stats.TimedOut++
	o.strike(who, patience, now)
	o.unsaid++
	if now.Sub(o.said) < sayInterval || now.Sub(p.saidAt) < sayPause || len(p.lines) > 0 {
		return
	}
	p.lines = append(p.lines, line{o.name, who.pid, o.unsaid})
	o.said, p.saidAt, o.unsaid = now, now, 0
	p.wakeUp()
}

// allow returns for how long a process may keep an answer back, or ErrStuck if it did a
// moment ago.
func (p *pool) allow(o *owner, who instance) (patience time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if o.rests(who, now) {
		return 0, fmt.Errorf("%w: it could not a moment ago", ErrStuck)
	}
	return o.patience(now), nil
}

// memoryMayHang reports whether so many children were left behind that the memory of an
// owner's processes is better not read.
func (p *pool) memoryMayHang(o *owner) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats.LeftBehind >= maxLeft || o.left >= maxLeftByOwner
}
