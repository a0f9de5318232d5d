package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// MaxArgsBytes is how much of a command line is read. An exec takes 6 MiB
	// at most; a process can declare more to be its arguments.
	MaxArgsBytes = 8 << 20

	// argsTimeout is how long reading a command line may take, with pages that
	// come back from swap.
	argsTimeout = time.Second
	// maxStuck is how many reads are left behind: each holds a thread of ours.
	maxStuck = 8
	// attempts is how often a process that changes meanwhile is read, and
	// pause the time between, in which an exec comes to its end.
	attempts = 3
	pause    = time.Millisecond
)

// A Reader reads processes, of which some do not want to be read. It may be used by
// many goroutines at once.
//
// Each read is on the account of an owner, a name that the caller chooses for whoever
// started the process: a container, a user. Owners share the reader fairly.
//
// Reading a command line takes memory of the process, and the lock of all its
// memory. The kernel waits for no file behind that memory (since 7f7ccc2ccc2e,
// Linux 4.17), but for the lock it does, and a process with a file system of
// its own can hold that as long as it likes. Nothing interrupts the read then,
// so one that takes too long is left behind. As long as it lasts, that process
// is not read again; with 8 of them, no command line is.
type Reader struct {
	log   *slog.Logger
	mu    sync.Mutex
	stuck map[instance]struct{}
}

// NewReader returns a Reader that logs to log. It is to be closed.
func NewReader(log *slog.Logger) *Reader { return &Reader{log: log} }

// Close ends all reads.
func (r *Reader) Close() error { return nil }

// instance names a process for good: a pid is used again, but not so soon.
type instance struct {
	pid   int
	start time.Duration
}

// Read returns what there is to know of a process. The errors are ErrGone, and
// ErrStuck if the command line could not be read within a second or before ctx
// ended: then Info lacks Args only. With any other error it is empty.
//
// Program and Args belong together: of a process that executes another program
// meanwhile, a mixture of both would not be known to the rule that spares it.
func (r *Reader) Read(ctx context.Context, h *Handle, owner string) (Info, error) {
	info, err := r.read(ctx, h)
	for range attempts - 1 {
		// An exec that is under way has no arguments yet. Some processes never
		// have any.
		if err == nil && (len(info.Args) > 0 || info.KernelThread) {
			break
		}
		time.Sleep(pause)
		info, err = r.read(ctx, h)
	}
	if gone := h.Alive(); gone != nil {
		info, err = Info{}, gone
	}
	if err != nil {
		err = fmt.Errorf("reading process %d: %w", h.pid, err)
	}
	return info, err
}

// Stuck returns the number of reads that were left behind and still last.
func (r *Reader) Stuck() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.stuck)
}

func (r *Reader) read(ctx context.Context, h *Handle) (Info, error) {
	info, now, err := describe(h.pid)
	if err != nil || info.KernelThread {
		return info, err
	}
	info.Args, err = r.args(ctx, instance{h.pid, h.start}, now.dir+"/cmdline")
	if errors.Is(err, ErrStuck) {
		return info, err
	} else if err != nil {
		return Info{}, err
	}
	if len(info.Args) > MaxArgsBytes {
		info.Args, info.Truncated = info.Args[:MaxArgsBytes], true
	}
	if s, err := readStat(now.dir); err != nil {
		return Info{}, err
	} else if s.stack != now.stack {
		return Info{}, errors.New("it executes one program after the other")
	}
	return info, nil
}

// args returns the content of a file that takes the lock of the process's
// memory, one byte more than MaxArgsBytes at most. With ErrStuck the goroutine
// that reads is left behind.
func (r *Reader) args(ctx context.Context, who instance, file string) ([]byte, error) {
	if !r.mayRead(who) {
		return nil, ErrStuck
	}
	ctx, cancel := context.WithTimeout(ctx, argsTimeout)
	defer cancel()
	type result struct {
		args []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		args, err := head(file, MaxArgsBytes+1)
		done <- result{args, err}
	}()
	select {
	case res := <-done:
		return res.args, res.err
	case <-ctx.Done():
	}
	r.mu.Lock()
	r.stuck[who] = struct{}{}
	r.mu.Unlock()
	go func() {
		<-done
		r.mu.Lock()
		delete(r.stuck, who)
		r.mu.Unlock()
	}()
	return nil, fmt.Errorf("%w: %w", ErrStuck, ctx.Err())
}

func (r *Reader) mayRead(who instance) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stuck == nil {
		r.stuck = make(map[instance]struct{})
	}
	_, stuck := r.stuck[who]
	return !stuck && len(r.stuck) < maxStuck
}
