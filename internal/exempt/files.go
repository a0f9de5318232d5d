package exempt

import (
	"context"
	"errors"
	"os"
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

// logInterval is the time between two lines about a path.
const logInterval = time.Hour

// A resolution is what paths of exempt programs lead to.
type resolution struct {
	files   map[process.FileID]string // the paths
	unknown map[string]bool           // paths about which nothing is known now: their previous files stay exempt
}

// lookUp looks up the paths of exempt programs. It takes lookupTime at most. A path that cannot be
// looked up is logged, and stays exempt by itself: it can be in the directory of a user, who decides what
// file system is there, and must not decide about other paths.
func (c *Checker) lookUp(ctx context.Context, programs []string) resolution {
	found := resolution{make(map[process.FileID]string), make(map[string]bool)}
	running := make([]*lookup, len(programs))
	for i, text := range programs {
		running[i] = c.lookups.begin(text, func() ([]process.FileID, error) {
			id, err := c.fileAt(text)
			return []process.FileID{id}, err
		})
	}
	for i, text := range programs {
		files, err := c.lookups.wait(ctx, text, running[i])
		switch {
		case err == nil:
			found.files[files[0]] = text
			continue
		case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP), ctx.Err() != nil:
		default:
			c.logUnknown(text, err)
		}
		found.unknown[text] = unanswered(err)
	}
	return found
}

// logUnknown logs why the file of a path is not known.
func (c *Checker) logUnknown(text string, err error) {
	c.mu.Lock()
	last, ok := c.logged[text]
	due := !ok || time.Since(last) > logInterval
	if due {
		c.logged[text] = time.Now()
	}
	c.mu.Unlock()
	if due {
		c.log.Warn("the file of an exempt program cannot be looked up", "path", text, "err", err)
	}
}

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
		s := c.now()
		found := c.lookUp(ctx, s.rules.Programs) // which can take a second
		c.applying.Lock()
		var err error
		if c.now() == s && ctx.Err() == nil {
			err = s.storeFiles(found, s)
		}
		c.applying.Unlock()
		if err != nil {
			return err
		}
	}
}
