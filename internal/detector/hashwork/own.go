package hashwork

import (
	"context"
	"os"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
)

// isOwn reports whether a mapping is of a file that this process executes too. The agent has the
// words of miners in its rules, so its readers and `cryptnono check` would be taken for miners.
func (e *examiner) isOwn(ctx context.Context, m procread.Mapping) (bool, error) {
	h, err := process.Open(os.Getpid())
	if err != nil {
		return false, err
	}
	defer h.Close()
	own := false
	err = e.reader.Mappings(ctx, h, Name, func(its procread.Mapping) error {
		own = own || its.Execute && its.Inode != 0 && its.Device == m.Device && its.Inode == m.Inode
		return nil
	})
	return own, err
}
