// Package procread reads the command lines and environments of processes, of which some do
// not want to be read.
package procread

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cryptnono/cryptnono/internal/process"
)

// ErrStuck says that a process kept its command line or environment from being read,
// now or a moment ago, or that others came before it. It may be tried again.
var ErrStuck = errors.New("it cannot be read in time")

const (
	// MaxArgsBytes is how much of a command line is read: as much as an exec takes at
	// most (bprm_stack_limits in fs/exec.c).
	MaxArgsBytes = 6 << 20

	// attempts is how often a process that changes meanwhile is read, and
	// pause the time between, in which an exec comes to its end.
	attempts = 3
	pause    = time.Millisecond
)

// A Reader reads processes, of which some do not want to be read. It may be used by
// many goroutines at once.
//
// The command line and the environment of a process are behind the lock of its memory,
// which it can hold for as long as it likes, with a file system of its own. A thread that
// waits for it cannot be used for anything else, and where it waits for that file system
// not even SIGKILL ends it. So the Reader asks a child, a process of the same program that
// has nothing of ours but a pipe, and kills it if there is no answer in time. The kernel
// tells all else without that lock.
//
// Each read is on the account of an owner, a name that the caller chooses for whoever
// started the process: a container, a user. An owner has one read at a time, of the few
// that there are in all; the more of its processes did not answer in time, the less time
// has the next, from one second down to 10 ms, until that was long ago. While others wait
// for a child, nobody has more than 20 ms without an answer.
type Reader struct {
	pool *pool
}

// NewReader returns a Reader that logs to log. It starts children when they are needed,
// and needs ServeIfChild in main. It is to be closed.
func NewReader(log *slog.Logger) *Reader { return &Reader{newPool(log)} }

// Close ends all reads, which fail then, and all children. It takes less than a second,
// also where a child does not end.
func (r *Reader) Close() error {
	r.pool.close()
	return nil
}

// instance names a process for good: a pid is used again, but not so soon.
type instance struct {
	pid   int
	start time.Duration
}

// Read returns what there is to know of a process. The errors are process.ErrGone, and
// ErrStuck if the command line could not be read in time or before ctx
// ended: then Info lacks Args only. With any other error it is empty.
//
// Program and Args belong together: of a process that executes another program
// meanwhile, a mixture of both would not be known to the rule that spares it.
func (r *Reader) Read(ctx context.Context, h *process.Handle, owner string) (process.Info, error) {
	info, err := r.read(ctx, h, owner)
	for range attempts - 1 {
		// An exec that is under way has no arguments yet. Some processes never
		// have any.
		if err == nil && (len(info.Args) > 0 || info.KernelThread) {
			break
		}
		if errors.Is(err, ErrStuck) || errors.Is(err, errClosed) {
			break
		}
		time.Sleep(pause)
		info, err = r.read(ctx, h, owner)
	}
	if gone := h.Alive(); gone != nil {
		info, err = process.Info{}, gone
	}
	if err != nil {
		err = fmt.Errorf("reading process %d: %w", h.PID(), err)
	}
	return info, err
}

func (r *Reader) read(ctx context.Context, h *process.Handle, owner string) (process.Info, error) {
	info, now, err := process.Describe(h.PID())
	if err != nil || info.KernelThread {
		return info, err
	}
	if now.Stack == 0 {
		// The link exe was readable, so we may know. Until the new program has a stack
		// we could not tell it from the one after it.
		return process.Info{}, errors.New("it is about to execute a program")
	}
	declared := min(now.ArgEnd-now.ArgStart, MaxArgsBytes)
	flags, err := r.ask(ctx, h, owner, request{kind: requestArgs, image: now}, func(data []byte) error {
		if len(data) == 0 {
			return nil
		}
		if info.Args == nil {
			info.Args = make([]byte, 0, max(int(declared), len(data)))
		}
		if len(info.Args)+len(data) > MaxArgsBytes {
			return errProtocol
		}
		info.Args = append(info.Args, data...)
		return nil
	})
	if errors.Is(err, ErrStuck) {
		info.Args = nil
		return info, err
	} else if err != nil {
		return process.Info{}, err
	}
	info.Truncated, info.Rewritten = flags&endTruncated != 0, flags&endRewritten != 0
	if replaced, err := now.Replaced(); err != nil {
		return process.Info{}, err
	} else if replaced {
		return process.Info{}, errors.New("it executes one program after the other")
	}
	return info, nil
}

// ask sends a request to a child, and gives the data of the answer to visit, in pieces.
// The errors are visit's, ErrStuck, errClosed, and those of the child with the file.
func (r *Reader) ask(ctx context.Context, h *process.Handle, name string, q request, visit func([]byte) error) (flags byte, err error) {
	queue, cancel := context.WithTimeout(ctx, maxQueue)
	defer cancel()
	p, who := r.pool, instance{h.PID(), h.Start()}
	o, err := p.enter(queue, name)
	if err != nil {
		return 0, err
	}
	defer p.leave(o)
	patience, err := p.allow(o, who)
	if err != nil {
		return 0, err
	}
	if p.memoryMayHang(o) {
		q.flags |= requestNoMemory
	}
	for again := true; ; again = false {
		c, err := p.get(queue)
		if err != nil {
			return 0, err
		}
		flags, err := c.ask(ctx, q, patience, func(data []byte) error {
			again = false
			return visit(data)
		})
		waited := c.waited
		p.put(c, o)
		switch {
		case errors.Is(err, errSilent):
			p.timedOut(o, who, waited)
			return 0, fmt.Errorf("%w: %w", ErrStuck, err)
		case errors.Is(err, errEnded) && again: // the system may have killed it for want of memory
		default:
			return flags, err
		}
	}
}
