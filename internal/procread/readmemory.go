package procread

import (
	"context"
	"fmt"

	"github.com/cryptnono/cryptnono/internal/process"
)

// Memory calls visit with the bytes of ranges of a process's memory, in order and in
// pieces, until visit returns an error, and returns that. data is valid until visit
// returns. It skips pages that are neither in memory nor in swap, so the next piece does
// not adjoin: those of files that no process has touched, for which the read can wait, and
// those of anonymous memory that are zeros.
//
// The error is process.ErrGone or ErrStuck as in Read, or another one, for example if the
// process executes another program meanwhile. After each 4 MiB, other reads of the owner
// can have their turn. The limits are MaxRanges and MaxBytes.
func (r *Reader) Memory(ctx context.Context, h *process.Handle, owner string, ranges []Range, visit func(address uint64, data []byte) error) error {
	err := checkRanges(ranges, MaxRanges, MaxBytes)
	if err == nil {
		_, err = r.stream(ctx, h, owner, func(yield func(request) bool) {
			for part := range parts(ranges) {
				if !yield(request{kind: requestMemory, ranges: part}) {
					return
				}
			}
		}, newPieces(ranges, visit).add)
	}
	if err != nil {
		return fmt.Errorf("reading the memory of process %d: %w", h.PID(), err)
	}
	return nil
}
