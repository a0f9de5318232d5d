package pin

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
	if root, err := host.Root(); err == nil {
		defer root.Close()
		if at := fmt.Sprintf("/proc/self/fd/%d", root.Fd()); checkFS(at+filepath.Dir(Default)) == nil {
			errs = append(errs, search(at, filepath.Dir(Default), seen, &all))
		}
	}
	for _, mount := range mounts {
		errs = append(errs, search("", mount, seen, &all))
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
	maxDepth       = 3    // of a directory of pins in its file system
	maxDirectories = 1000 // that are looked at; other programs may have many
)

// search adds the directories of pins in the file system at mount, which is below root.
func search(root, mount string, seen map[[2]uint64]bool, all *[]Found) error {
	top, looked := root+mount, 0
	err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) || err == nil && !e.IsDir() {
			return nil
		}
		if looked++; err == nil && looked > maxDirectories {
			err = fs.SkipAll
		}
		if err != nil {
			return err
		}
		if path == top {
			return nil
		}
		units := unitsIn(path)
		if len(units) == 0 {
			if strings.Count(path[len(top):], "/") >= maxDepth {
				return fs.SkipDir
			}
			return nil
		}
		var s unix.Stat_t
		if err := unix.Stat(path, &s); err != nil || s.Uid != 0 || seen[[2]uint64{s.Dev, s.Ino}] {
			return fs.SkipDir // it is gone, or not an agent's
		}
		seen[[2]uint64{s.Dev, s.Ino}] = true
		*all = append(*all, Found{strings.TrimPrefix(path, root), units, isHeld(path)})
		return fs.SkipDir
	})
	if err != nil {
		return fmt.Errorf("looking for pins: %w", err)
	}
	return nil
}

// unitsIn returns the names of the units in a directory of pins, none if it is none.
func unitsIn(path string) (units []string) {
	states, _ := filepath.Glob(filepath.Join(path, "*", "????????????????", stateName)) // the pattern is good
	for _, state := range states {
		build := filepath.Dir(state)
		unit := filepath.Base(filepath.Dir(build))
		if buildName.MatchString(filepath.Base(build)) && (len(units) == 0 || units[len(units)-1] != unit) {
			units = append(units, unit)
		}
	}
	return units
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
