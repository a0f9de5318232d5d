package process

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Maps calls visit for each mapping of the process, in the order of addresses, however
// many there are, and ends with visit's error if that returns one. A process changes its
// memory meanwhile: a mapping may be missing or there twice. The other errors are those
// of Read; some mappings may have been visited before.
func (r *Reader) Maps(ctx context.Context, h *Handle, owner string, visit func(Mapping) error) error {
	_, err := r.file(ctx, h, owner, request{kind: requestMaps}, func(data []byte) error {
		for len(data) > 0 {
			m, rest, err := decodeMapping(data)
			if err != nil {
				return err
			}
			if err := visit(m); err != nil {
				return err
			}
			data = rest
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the memory map of process %d: %w", h.pid, err)
	}
	return nil
}

// file asks for a file about a process.
func (r *Reader) file(ctx context.Context, h *Handle, owner string, q request, visit func([]byte) error) (flags byte, err error) {
	_, now, err := look(h.pid)
	if err == nil {
		q.image = now
		flags, err = r.ask(ctx, h, owner, q, visit)
	}
	if gone := h.Alive(); gone != nil {
		return 0, gone
	}
	return flags, err
}

// SinceBoot returns the time since boot, on the clock of Info.Start.
func SinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// Monotonic returns the clock of bpf_ktime_get_ns.
func Monotonic() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
