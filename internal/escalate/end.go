package escalate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/host"
	"github.com/cryptnono/cryptnono/internal/process"
)

// openCgroups opens the root of cgroup v2, or returns nil.
func openCgroups(log *slog.Logger) *os.File {
	root, err := host.Cgroups()
	if err != nil {
		log.Debug("containers are ended process by process", "err", err)
		return nil
	}
	return root
}

// end kills all processes of a target, those in cgroups below its own too. From Linux 5.14 on the
// kernel does that at once. Else they are killed until none is found, and frozen if some were forked
// meanwhile. They are not frozen before that: an agent that crashes then would leave processes frozen that
// no other agent knows of, and so only children of killed ones.
func (e *Escalator) end(ctx context.Context, t *target) error {
	freeze := func() {}
	dir, err := e.open(t)
	if err == nil {
		defer unix.Close(dir)
		if err = write(dir, "cgroup.kill", "1"); err == nil {
			return nil
		}
		thaw := func() {}
		defer func() { thaw() }()
		freeze = func() {
			if write(dir, "cgroup.freeze", "1") == nil {
				thaw = func() { _ = write(dir, "cgroup.freeze", "0") }
			}
		}
	}
	e.Log.Debug("a container is ended process by process", "err", err)
	return e.killEach(ctx, t, freeze)
}

// open opens the directory of the cgroup of a target.
func (e *Escalator) open(t *target) (int, error) {
	if e.cgroups == nil || t.key.Hierarchy != 0 {
		return -1, errors.New("it has no cgroup of v2")
	}
	dir, err := unix.Openat2(int(e.cgroups.Fd()), filepath.Join(t.path...), &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return -1, fmt.Errorf("opening a cgroup: %w", err)
	}
	var info unix.Stat_t
	if err := unix.Fstat(dir, &info); err != nil || info.Ino != t.key.ID {
		_ = unix.Close(dir)
		return -1, errors.Join(errors.New("another cgroup has its path"), err)
	}
	return dir, nil
}

func write(dir int, name, text string) error {
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", name, err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(text)); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// killEach kills the processes of a target until no other is found. One that was sent SIGKILL does not
// fork. It calls freeze if some were forked before that.
func (e *Escalator) killEach(ctx context.Context, t *target, freeze func()) error {
	killed := make(map[process.Instance]bool)
	for round := 0; ; round++ {
		all, err := e.Inventory.Processes()
		if err != nil {
			return err
		}
		now, ok := targetOf(all, t.key, t.session)
		if !ok {
			return nil
		}
		found := false
		for _, p := range now.processes {
			if killed[p.Instance()] {
				continue
			}
			killed[p.Instance()] = true
			if err := kill(p); err == nil {
				found = true
			} else if !errors.Is(err, process.ErrGone) {
				return err
			}
		}
		if !found {
			return nil
		}
		if round == 1 {
			freeze()
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%d processes were killed, and others are left: %w", len(killed), err)
		}
	}
}

func kill(p process.Event) error {
	h, err := p.Open()
	if err != nil {
		return err
	}
	defer h.Close()
	return h.Kill()
}
