package process

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Maps returns the process's memory map, the first MaxArgsBytes of the content
// of /proc/PID/maps. The errors are those of Read: a process can keep this from
// being read as well, by a change of its memory that waits for a page.
func (r *Reader) Maps(ctx context.Context, h *Handle) ([]byte, error) {
	maps, err := r.file(ctx, h, "/maps")
	if err != nil {
		return nil, fmt.Errorf("reading the memory map of process %d: %w", h.pid, err)
	}
	return maps, nil
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
