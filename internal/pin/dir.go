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
	"slices"
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
// Its parent must be in a bpffs. While another agent uses the directory, Open waits for up to
// patience; then the error is ErrHeld. version is that of the agent, for others to name it.
func Open(ctx context.Context, path, version string, patience time.Duration) (*Dir, error) {
	if err := checkFS(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if err := mkdir(path); err != nil {
		return nil, err
	}
	d, err := lock(ctx, path, patience)
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
	return lock(context.Background(), path, 0)
}

func checkFS(path string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return fmt.Errorf("looking for a bpffs at %s: %w", path, err)
	}
	if fs.Type != unix.BPF_FS_MAGIC {
		return fmt.Errorf("%s is not in a bpffs: mount one there", path)
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

func lock(ctx context.Context, path string, patience time.Duration) (*Dir, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the directory of pins: %w", err)
	}
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

// Keep removes everything but these units, and returns what it has removed, relative to the
// directory.
func (d *Dir) Keep(units ...string) (removed []string, err error) {
	if d == nil {
		return nil, nil
	}
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, fmt.Errorf("listing pins: %w", err)
	}
	for _, e := range entries {
		if slices.Contains(units, e.Name()) {
			continue
		}
		if err := removeAll(filepath.Join(d.path, e.Name())); err != nil {
			return removed, err
		}
		removed = append(removed, e.Name())
	}
	return removed, nil
}

// Remove removes a directory of pins with all that is in it, also while an agent uses it, and
// returns what it has removed: nothing if it is missing. Then protection ends with the agent, at
// once if there is none.
func Remove(path string) ([]string, error) {
	if err := checkFS(path); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	d := &Dir{path: path}
	removed, err := d.Keep()
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		return removed, fmt.Errorf("removing pins: %w", err)
	}
	return removed, nil
}

// removeAll removes a directory. Pins of links go first, so that no program runs that has lost
// what it tells its verdicts to.
func removeAll(path string) error {
	var links []string
	err := filepath.WalkDir(path, func(name string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && isLink(e.Name()) {
			links = append(links, name)
		}
		return err
	})
	for _, name := range links {
		err = errors.Join(err, os.Remove(name))
	}
	if err = errors.Join(err, os.RemoveAll(path)); err != nil {
		return fmt.Errorf("removing pins: %w", err)
	}
	return nil
}
