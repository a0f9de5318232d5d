package agent

import (
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"syscall"
)

// A filesVersion is a hash of the metadata of files. It changes when a file changes.
type filesVersion uint64

// versionOf returns the version of files, and of the files in directories. It follows
// symbolic links: those of a mounted ConfigMap get another target with each change.
//
// The agent polls this instead of using inotify: polling works on all file systems, and
// needs no inotify instance, which other agents on the node may have used up.
func versionOf(paths []string) filesVersion {
	h := fnv.New64a()
	for _, path := range paths {
		_, _ = fmt.Fprintln(h, path, metadata(path))
		entries, err := os.ReadDir(path)
		if err != nil {
			continue // not a directory
		}
		for _, e := range entries {
			_, _ = fmt.Fprintln(h, e.Name(), metadata(filepath.Join(path, e.Name())))
		}
	}
	return filesVersion(h.Sum64())
}

// metadata returns text that changes when a file is written or replaced.
func metadata(path string) string {
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
