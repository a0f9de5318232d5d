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
	_, now, err := look(h.pid)
	var maps []byte
	if err == nil {
		maps, err = r.args(ctx, instance{h.pid, h.start}, now.dir+"/maps")
	}
	if gone := h.alive(); gone != nil {
		maps, err = nil, gone
	}
	if err != nil {
		return nil, fmt.Errorf("reading the memory map of process %d: %w", h.pid, err)
	}
	return maps, nil
}

// SinceBoot returns the time since boot, on the clock of Info.Start.
func SinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
