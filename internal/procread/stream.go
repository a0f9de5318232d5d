package procread

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/cryptnono/cryptnono/internal/process"
)

var (
	errOtherProgram = errors.New("it has executed another program meanwhile")
	// errNoProgram: an exec has not finished. It maps the program and then sets the end of
	// the arguments and the final Stack (load_elf_binary in fs/binfmt_elf.c).
	errNoProgram = errors.New("an exec is in progress, or it is a kernel thread, or permission is missing")
)

// stream sends requests about a process, one after the other, and calls visit with the
// data of the answers until visit returns an error. It returns an error if the process
// executes another program meanwhile.
func (r *Reader) stream(ctx context.Context, h *process.Handle, owner string, requests iter.Seq[request], visit func([]byte) error) (flags byte, err error) {
	now, err := process.Current(h.PID())
	if err == nil && (now.Stack == 0 || now.ArgEnd == 0) {
		err = errNoProgram
	}
	for q := range requests {
		if err != nil {
			break
		}
		q.image = now
		var last byte
		last, err = r.answer(ctx, h, owner, q, visit)
		flags |= last
	}
	if gone := h.Alive(); gone != nil {
		return 0, gone
	}
	return flags, err
}

// answer sends one request of a stream.
func (r *Reader) answer(ctx context.Context, h *process.Handle, owner string, q request, visit func([]byte) error) (flags byte, err error) {
	var stopped error
	flags, err = r.do(ctx, h, owner, q, func(data []byte) error {
		if stopped == nil {
			stopped = visit(data)
		}
		if errors.Is(stopped, errProtocol) {
			return stopped
		}
		return nil // the rest of the answer is read, so that the child can be used again
	})
	replaced, gone := q.image.Replaced()
	switch {
	case replaced:
		return 0, errOtherProgram
	case stopped != nil:
		return 0, stopped
	case err != nil:
		return 0, err
	case gone != nil:
		return 0, fmt.Errorf("reading its state again: %w", gone)
	}
	return flags, nil
}
