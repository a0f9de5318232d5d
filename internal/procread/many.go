package procread

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// MaxMany is how many processes one call of ReadMany may be for.
	MaxMany = 64
	// maxBrief is the length in bytes of a path or of arguments that ReadMany reads.
	maxBrief = 4096
)

// A Want is a process to be read, and whether the path of its program is wanted as well.
type Want struct {
	PID     int
	Program bool
}

// A Brief is what ReadMany has read of a process: see Info. Either it is whole or the
// process was not read. Nothing says whether Args are those of the exec.
type Brief struct {
	Program, Args []byte // valid until visit returns
	// Gone says that there is no process with this pid.
	Gone bool
}

// ReadMany reads the arguments of processes of one owner, of MaxMany at most, for a
// small part of what Read costs each. It calls visit in their order, but leaves out those
// that it cannot read or that have more than 4096 bytes of arguments: those are for Read,
// and after an error all that were not visited.
//
// Nothing keeps a pid from being used again meanwhile: the caller has to find out whose
// the arguments are.
//
// If one process keeps the others waiting for 20 ms, the error is ErrStuck. Read finds out
// which one it is. After some such errors, ReadMany refuses processes of this owner with
// the same error for 10 seconds.
func (r *Reader) ReadMany(ctx context.Context, owner string, of []Want, visit func(i int, b Brief)) error {
	if len(of) > MaxMany {
		return fmt.Errorf("reading %d processes at once, %d at most", len(of), MaxMany)
	}
	queue, cancel := context.WithTimeout(ctx, maxQueue)
	defer cancel()
	p := r.pool
	o, err := p.enter(queue, owner)
	if err != nil {
		return err
	}
	defer p.leave(o)
	if p.readsAlone(o) {
		return fmt.Errorf("%w: others of its owner could not a moment ago", ErrStuck)
	}
	c, err := p.get(queue)
	if err != nil {
		return err
	}
	next := 0
	_, err = c.ask(ctx, request{kind: requestBriefs, of: of}, impatience, func(data []byte) error {
		for len(data) > 0 {
			b, state, rest, err := decodeBrief(data)
			if err != nil || next == len(of) {
				return errors.Join(errProtocol, err)
			}
			if state != briefNone {
				visit(next, b)
			}
			data = rest
			next++
		}
		return nil
	})
	p.put(c, o)
	if errors.Is(err, errSilent) {
		p.keptWaiting(o)
		err = fmt.Errorf("%w: %w", ErrStuck, err)
	}
	return err
}

const (
	// maxSilent is how many calls of ReadMany for one owner may fail since a process did
	// not answer, until his processes are read by Read alone for aloneTime. On a busy
	// machine it happens to honest ones, too.
	maxSilent = 4
	aloneTime = forgiveness
)

func (p *pool) readsAlone(o *owner) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Before(o.alone)
}

// keptWaiting notes that a process kept others of its owner from being read.
func (p *pool) keptWaiting(o *owner) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(o.silentAt) > aloneTime {
		o.silent = 0
	}
	o.silent, o.silentAt = o.silent+1, now
	if o.silent >= maxSilent {
		o.silent, o.alone = 0, now.Add(aloneTime)
	}
}
