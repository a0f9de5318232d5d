// Package procread reads the command lines, environments, memory and mapped files of
// processes, including processes that block such reads.
package procread

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cryptnono/cryptnono/internal/process"
)

// ErrStuck means that a read timed out, now or recently, or has waited too long for other
// reads, or that earlier reads of the owner's processes do not end, or that the context of the
// read has ended: then it wraps the context's error too. It can be retried.
var ErrStuck = errors.New("cannot be read in time")

const (
	// MaxArgsBytes is the maximum length of a command line: the limit of an exec
	// (bprm_stack_limits in fs/exec.c).
	MaxArgsBytes = 6 << 20

	// attempts is how often a process is read if it executes a program meanwhile, pause
	// the time between, in which most execs finish.
	attempts = 3
	pause    = time.Millisecond
)

// A Reader reads processes. It is safe for concurrent use.
//
// Reading the command line, environment, mappings or memory of a process takes the lock of
// its memory (mmap_lock). A process can hold the lock for any time, with a FUSE file system that does
// not answer, and even SIGKILL may not end a thread that waits for it. So child processes
// of the agent do these reads. They share only pipes with the agent, which kills a child
// that does not answer in time. All other data is read without that lock.
//
// Each read belongs to an owner, which the caller names: the container or user of the
// process. An owner has one read at a time. Each timeout halves the time limit for the
// owner's next reads, from one second down to 10 ms, and expires after 10 seconds. While
// other reads wait for a child, a read times out after 20 ms without an answer.
//
// A read whose context has ended before it begins reaches no child, and is no timeout.
type Reader struct {
	pool *pool
}

// NewReader returns a Reader that logs to log. It starts children when they are needed,
// and requires ServeIfChild in main. It must be closed.
func NewReader(log *slog.Logger) *Reader { return &Reader{newPool(log)} }

// Close makes current reads fail and ends all children. It takes less than a second, even
// if a child does not end.
func (r *Reader) Close() error {
	r.pool.close()
	return nil
}

// instance identifies a process: a reused pid has another start time.
type instance struct {
	pid   int
	start time.Duration
	files bool // only reads of its mapped files are meant
}

// Read reads a process. The error is process.ErrGone, or ErrStuck if the command line
// could not be read in time or before ctx ended: then Info lacks only Args. With any other
// error Info is empty.
//
// Program and Args are of the same exec: an allow pattern would not match a mixture of two.
func (r *Reader) Read(ctx context.Context, h *process.Handle, owner string) (process.Info, error) {
	info, err := r.read(ctx, h, owner)
	for range attempts - 1 {
		// During an exec there are no arguments. Some processes never have any.
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
		// An exec has not set up the stack yet. Without it, Replaced cannot detect another
		// exec. (Missing permission is not the reason: the link exe was readable.)
		return process.Info{}, errors.New("an exec is in progress")
	}
	declared := min(now.ArgEnd-now.ArgStart, MaxArgsBytes)
	flags, err := r.do(ctx, h, owner, request{kind: requestArgs, image: now}, func(data []byte) error {
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
		return process.Info{}, errOtherProgram
	}
	return info, nil
}

// do sends a request to a child, and calls visit with the data of the answer, in pieces.
// The errors are visit's, ErrStuck, errClosed, and those of the child for the file.
func (r *Reader) do(ctx context.Context, h *process.Handle, name string, q request, visit func([]byte) error) (flags byte, err error) {
	queue, cancel := context.WithTimeout(ctx, maxQueue)
	defer cancel()
	p, who := r.pool, instance{h.PID(), h.Start(), q.kind == requestFile}
	o, err := p.enter(queue, name)
	if err != nil {
		return 0, err
	}
	defer p.leave(o)
	patience, err := p.allow(o, who)
	if err != nil {
		return 0, err
	}
	files, memory := p.mayHang(o)
	if files && (q.kind == requestFile || q.kind == requestProgram) || memory && q.kind >= requestMaps {
		return 0, fmt.Errorf("%w: children that read do not end", ErrStuck)
	}
	if memory {
		q.flags |= requestNoMemory
	}
	for retry := true; ; retry = false {
		c, err := p.childFor(ctx, queue)
		if err != nil {
			return 0, err
		}
		flags, err := c.do(ctx, q, patience, func(data []byte) error {
			retry = false
			return visit(data)
		})
		waited := c.waited
		p.put(c, o)
		switch {
		case errors.Is(err, errTimeout):
			p.timedOut(o, who, waited)
			return 0, fmt.Errorf("%w: %w", ErrStuck, err)
		case errors.Is(err, errEnded) && retry: // the OOM killer may have killed it
		default:
			return flags, err
		}
	}
}
