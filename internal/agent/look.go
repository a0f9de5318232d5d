package agent

import (
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"syscall"
)

// A fingerprint is of what some files are, without reading them.
type fingerprint uint64

// look returns the fingerprint of files, and of the files in directories. Links are
// followed: those of a mounted ConfigMap lead to other files after each change.
//
// Looking now and then sees a change on each kind of file system, and takes none of
// the machine's inotify instances, of which other agents may have left none.
func look(paths []string) fingerprint {
	h := fnv.New64a()
	for _, path := range paths {
		_, _ = fmt.Fprintln(h, path, state(path))
		entries, err := os.ReadDir(path)
		if err != nil {
			continue // no directory
		}
		for _, e := range entries {
			_, _ = fmt.Fprintln(h, e.Name(), state(filepath.Join(path, e.Name())))
		}
	}
	return fingerprint(h.Sum64())
}

// state returns what changes when a file is written, or replaced by another.
func state(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "none"
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return info.ModTime().String()
	}
	return fmt.Sprint(s.Dev, s.Ino, s.Size, s.Mtim, s.Ctim, s.Mode)
}
