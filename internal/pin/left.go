package pin

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/host"
)

// A Found is a directory of pins on this machine.
type Found struct {
	Path  string   // on the host, or else in this mount namespace
	Units []string // what is pinned there, by the names of units
	Held  bool     // an agent uses it
}

// FindAll returns the directories of pins of any version of the agent: in all BPF file systems of this
// mount namespace, and in that at /sys/fs/bpf of the host.
func FindAll() ([]Found, error) {
	mounts, err := bpfMounts("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var all []Found
	seen := make(map[[2]uint64]bool) // by device and inode
	var errs []error
	look := func(root, mount string) {
		s := newSearch(root, mount, seen)
		errs = append(errs, s.run())
		all = append(all, s.found...)
	}
	if root, err := host.Root(); err == nil {
		defer root.Close()
		if at := fmt.Sprintf("/proc/self/fd/%d", root.Fd()); checkFS(at+filepath.Dir(Default)) == nil {
			look(at, filepath.Dir(Default))
		}
	}
	for _, mount := range mounts {
		look("", mount)
	}
	return all, errors.Join(errs...)
}

// bpfMounts returns the mount points of BPF file systems in a file such as /proc/self/mountinfo.
func bpfMounts(file string) (points []string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("looking for BPF file systems: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		mount, rest, _ := strings.Cut(lines.Text(), " - ")
		if fields := strings.Fields(mount); len(fields) > 4 && strings.HasPrefix(rest, "bpf ") {
			points = append(points, unescape.Replace(fields[4]))
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("looking for BPF file systems: %w", err)
	}
	return points, nil
}

var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`) //nolint:gochecknoglobals // read only

const (
	maxDepth       = 3       // of a directory of pins in its file system
	maxDirectories = 1000    // of root that are looked at; other programs may have many
	maxEntries     = 100_000 // that are read; all users may make some in a bpffs that all may write
	piece          = 256     // entries that are read at once
)

// A search looks for directories of pins in one file system. It reads only what is root's, as pins are, and
// not whole directories at once: users may fill them.
type search struct {
	root, mount          string // the mount point is below the root
	seen                 map[[2]uint64]bool
	directories, entries int // that may still be looked at
	found                []Found
}

func newSearch(root, mount string, seen map[[2]uint64]bool) *search {
	return &search{root: root, mount: mount, seen: seen, directories: maxDirectories, entries: maxEntries}
}

// errEnough ends a search that has looked at as much as it may.
var errEnough = errors.New("it has looked at enough")

// run searches, first in the usual place, which nothing that users make can hide.
func (s *search) run() error {
	usual := filepath.Join(s.root+s.mount, filepath.Base(Default))
	err := s.look(usual, maxDepth)
	if err == nil {
		err = s.walk(s.root+s.mount, 1)
	}
	if err != nil && !errors.Is(err, errEnough) {
		return fmt.Errorf("looking for pins: %w", err)
	}
	return nil
}

// walk looks at the directories in one, which are at this depth.
func (s *search) walk(path string, depth int) error {
	return s.each(path, func(name string) error {
		if s.directories--; s.directories < 0 {
			return errEnough
		}
		return s.look(filepath.Join(path, name), depth)
	})
}

// look adds a directory if it is one of pins, and else looks at those in it.
func (s *search) look(path string, depth int) error {
	units, err := s.unitsIn(path)
	if err != nil {
		return err
	}
	if len(units) == 0 {
		if depth >= maxDepth {
			return nil
		}
		return s.walk(path, depth+1)
	}
	var at unix.Stat_t
	// Or it is gone, or known.
	if unix.Stat(path, &at) == nil && at.Uid == 0 && !s.seen[[2]uint64{at.Dev, at.Ino}] {
		s.seen[[2]uint64{at.Dev, at.Ino}] = true
		s.found = append(s.found, Found{strings.TrimPrefix(path, s.root), units, isHeld(path)})
	}
	return nil
}

// unitsIn returns the names of the units in a directory of pins, none if it is none.
func (s *search) unitsIn(path string) (units []string, err error) {
	err = s.each(path, func(unit string) error {
		has := false
		err := s.each(filepath.Join(path, unit), func(build string) error {
			if buildName.MatchString(build) {
				_, err := os.Lstat(filepath.Join(path, unit, build, stateName))
				has = has || err == nil
			}
			return nil
		})
		if has {
			units = append(units, unit)
		}
		return err
	})
	slices.Sort(units)
	return units, err
}

// each calls visit with the names of root's directories in one of root's. One that is gone, or that
// another program keeps from this one, has none.
func (s *search) each(path string, visit func(name string) error) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return unlessHidden(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !isRoots(info) {
		return unlessHidden(err)
	}
	for {
		entries, err := f.ReadDir(piece)
		for _, e := range entries {
			if s.entries == 0 {
				return errEnough
			}
			s.entries--
			if !e.IsDir() {
				continue
			}
			if info, err := e.Info(); err != nil || !isRoots(info) {
				continue
			}
			if err := visit(e.Name()); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return unlessHidden(err)
		}
	}
}

// unlessHidden returns an error, but not that of a directory that is gone, or cannot be read by this program.
func unlessHidden(err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	return err
}

// isHeld reports whether an agent uses a directory.
func isHeld(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// Left returns the directories of pins that no agent uses: what is pinned there still refuses and
// kills, by the rules of an agent that is gone.
func Left() (left []Found, err error) {
	all, err := FindAll()
	for _, f := range all {
		if !f.Held {
			left = append(left, f)
		}
	}
	return left, err
}
