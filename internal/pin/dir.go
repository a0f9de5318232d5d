// Package pin keeps BPF objects in a BPF file system (bpffs), so that the kernel's part of the
// agent outlives its process: docs/pins.md.
//
// The directory has one directory for each unit, such as a detector. In it are the entries of the
// unit, which are the same for all versions of the agent, and a directory for each build that has
// objects there: one, except during an upgrade or after a crash in it.
package pin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Default is the usual directory.
const Default = "/sys/fs/bpf/cryptnono"

// ErrHeld means that another agent uses the directory.
var ErrHeld = errors.New("another agent uses it")

// A Dir is the directory of pins of one agent. A nil Dir keeps nothing.
type Dir struct {
	path    string
	lock    *os.File
	version string // of the agent

	mu    sync.Mutex
	alone map[string]Alone // by unit
}

// Alone says what a unit did while no agent was there, before this one.
type Alone struct {
	Time                           time.Duration
	Kills, LeftToAgent, EventsLost uint64
}

// Was stores what a unit did while no agent was there.
func (d *Dir) Was(unit string, a Alone) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.alone == nil {
		d.alone = make(map[string]Alone)
	}
	d.alone[unit] = a
}

// Alone returns what the units did while no agent was there, by their names. A nil Dir has none.
func (d *Dir) Alone() map[string]Alone {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.alone)
}

// Open makes the directory if it is missing, and locks it until Close or the end of the process.
// Its parent must be in a bpffs, and only root may have made or be able to write what is in it:
// see openDir. Others lose the right to read it, and with it that to lock it. While another agent uses the directory, Open waits for up to
// patience; then the error is ErrHeld. version is that of the agent, for others to name it.
func Open(ctx context.Context, path, version string, patience time.Duration) (*Dir, error) {
	if err := checkFS(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("%w: mount -t bpf -o mode=0700 bpf %s", err, filepath.Dir(path))
	}
	if err := mkdir(path); err != nil {
		return nil, err
	}
	f, err := openDir(path)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(0o700); err != nil {
		return nil, errors.Join(fmt.Errorf("closing the directory of pins to others: %w", err), f.Close())
	}
	d, err := lock(ctx, f, patience)
	if err == nil {
		d.version = version
	}
	return d, err
}

// Version returns the version of the agent.
func (d *Dir) Version() string { return d.version }

// Find is as Open without patience, for a directory that may be missing: then it returns nil.
func Find(path string) (*Dir, error) {
	if err := checkFS(path); err != nil {
		return nil, nil //nolint:nilerr // there are no pins
	}
	f, err := openDir(path)
	if err != nil {
		return nil, err
	}
	return lock(context.Background(), f, 0)
}

func checkFS(path string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return fmt.Errorf("looking for a bpffs at %s: %w", path, err)
	}
	if fs.Type != unix.BPF_FS_MAGIC {
		return fmt.Errorf("%s is not in a bpffs", path)
	}
	return nil
}

func mkdir(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("making a directory of pins: %w", err)
	}
	return nil
}

// lockInterval is the time between two attempts to lock.
const lockInterval = 50 * time.Millisecond

// lock locks a directory, or closes it.
func lock(ctx context.Context, f *os.File, patience time.Duration) (*Dir, error) {
	path := f.Name()
	for end := time.Now().Add(patience); ; {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return &Dir{path: path, lock: f}, nil
		}
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrHeld
		}
		if !errors.Is(err, ErrHeld) || time.Now().After(end) {
			return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("locking %s: %w", path, context.Cause(ctx)), f.Close())
		case <-time.After(lockInterval):
		}
	}
}

// Close unlocks the directory. What is pinned stays.
func (d *Dir) Close() error {
	if d == nil {
		return nil
	}
	return d.lock.Close()
}
