package process

import (
	"bytes"
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
	maps, err := r.file(ctx, h, "/maps")
	if err != nil {
		return fmt.Errorf("reading the memory map of process %d: %w", h.pid, err)
	}
	for line := range bytes.Lines(maps) {
		m, err := parseMapping(bytes.TrimSuffix(line, []byte("\n")))
		if err != nil {
			continue
		}
		if err := visit(m); err != nil {
			return err
		}
	}
	return nil
}

// file returns the first MaxArgsBytes of a file about a process whose reading takes
// the lock of its memory.
func (r *Reader) file(ctx context.Context, h *Handle, name string) ([]byte, error) {
	_, now, err := look(h.pid)
	var content []byte
	if err == nil {
		content, err = r.args(ctx, instance{h.pid, h.start}, now.dir+name)
	}
	if gone := h.Alive(); gone != nil {
		return nil, gone
	}
	return content, err
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
