package procread

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// MaxMany is the maximum number of processes for one call of ReadMany.
	MaxMany = 64
	// maxBrief is the maximum length in bytes of a path and of arguments for ReadMany.
	maxBrief = 4096
)

// A Want names a process to read, and whether to read the path of its program.
type Want struct {
	PID     int
	Program bool
}

// A Brief is what ReadMany reads of a process: see process.Info. It is never truncated.
// Args can be a title instead of the arguments of the exec.
type Brief struct {
	Program, Args []byte // valid until visit returns
	// Gone: there is no process with this pid.
	Gone bool
}

// ReadMany reads the arguments of up to MaxMany processes of one owner. It costs much
// less than calling Read for each. It calls visit in the order of the processes. It skips
// processes that it cannot read, and those with more than 4096 bytes of arguments: call
// Read for these, and after an error for all that were not visited.
//
// A pid can be reused meanwhile: the caller must check which process the arguments are of.
//
// If a read takes more than 20 ms, the error is ErrStuck; Read then shows which process
// is the cause. After several such errors, ReadMany returns ErrStuck for all processes of
// this owner for 10 seconds.
func (r *Reader) ReadMany(ctx context.Context, owner string, of []Want, visit func(i int, b Brief)) error {
	if len(of) > MaxMany {
		return fmt.Errorf("reading %d processes, at most %d are allowed", len(of), MaxMany)
	}
	queue, cancel := context.WithTimeout(ctx, maxQueue)
	defer cancel()
	p := r.pool
	o, err := p.enter(queue, owner)
	if err != nil {
		return err
	}
	defer p.leave(o)
	if p.batchesPaused(o) {
		return fmt.Errorf("%w: reads of this owner timed out recently", ErrStuck)
	}
	c, err := p.childFor(ctx, queue)
	if err != nil {
		return err
	}
	next := 0
	_, err = c.do(ctx, request{kind: requestBriefs, of: of}, stallTime, func(data []byte) error {
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
	if errors.Is(err, errTimeout) {
		p.batchTimedOut(o)
		err = fmt.Errorf("%w: %w", ErrStuck, err)
	}
	return err
}

const (
	// After maxBatchTimeouts timeouts, ReadMany refuses an owner for batchPause. On a busy
	// machine, a few timeouts occur with any owner.
	maxBatchTimeouts = 4
	batchPause       = strikeLifetime
)

func (p *pool) batchesPaused(o *owner) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Before(o.batchesPausedTill)
}

// batchTimedOut counts a timeout of ReadMany.
func (p *pool) batchTimedOut(o *owner) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(o.batchTimeoutAt) > batchPause {
		o.batchTimeouts = 0
	}
	o.batchTimeouts, o.batchTimeoutAt = o.batchTimeouts+1, now
	if o.batchTimeouts >= maxBatchTimeouts {
		o.batchTimeouts, o.batchesPausedTill = 0, now.Add(batchPause)
	}
}
