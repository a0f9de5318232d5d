package exempt

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/process"
)

// fileAt returns the file of a path on the host.
func (c *Checker) fileAt(path string) (process.FileID, error) {
	fd, err := c.open(path, unix.O_PATH)
	if err != nil {
		return process.FileID{}, err
	}
	defer unix.Close(fd)
	return c.inventory.File(fd)
}

// open opens a file by its path on the host.
func (c *Checker) open(path string, flags uint64) (fd int, err error) {
	if c.root == nil {
		return -1, unix.ENOENT
	}
	return unix.Openat2(int(c.root.Fd()), path, &unix.OpenHow{
		Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
}

// resolveInterval is the time between two resolutions of the paths of exempt programs.
const resolveInterval = time.Second

// watchFiles resolves the paths of exempt programs periodically until ctx ends, because their
// files may be replaced.
func (c *Checker) watchFiles(ctx context.Context, loop *health.Loop) error {
	tick := time.NewTicker(resolveInterval)
	defer tick.Stop()
	for {
		loop.Idle()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		loop.Progress()
		c.applying.Lock()
		err := c.now().resolvePrograms(c)
		c.applying.Unlock()
		if err != nil {
			return err
		}
	}
}
