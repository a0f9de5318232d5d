package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
)

// A tree is the file system of a guest: the source of each file by its absolute path. A path that
// ends in "/" is an empty folder.
type tree map[string]string

// write writes the tree as a cpio archive in the format "newc", which the kernel
// unpacks (Documentation/driver-api/early-userspace/buffer-format.rst).
func (t tree) write(w io.Writer) error {
	a := &archive{w: bufio.NewWriter(w), made: map[string]bool{".": true}}
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if err := a.add(name, t[name]); err != nil {
			return fmt.Errorf("adding %s to the guest's files: %w", name, err)
		}
	}
	a.entry("TRAILER!!!", 0, nil)
	return a.w.Flush()
}

type archive struct {
	w      *bufio.Writer
	made   map[string]bool // folders that are written, without the leading slash
	inodes int
}

func (a *archive) add(name, from string) error {
	inside := path.Clean(name)[1:]
	if name[len(name)-1] == '/' {
		a.folder(inside)
		return nil
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	a.folder(path.Dir(inside))
	a.entry(inside, 0o100000|uint32(info.Mode().Perm()|0o444), text)
	return nil
}

// folder adds a folder and its parents.
func (a *archive) folder(name string) {
	if a.made[name] {
		return
	}
	a.folder(path.Dir(name))
	a.made[name] = true
	a.entry(name, 0o040755, nil)
}

// entry writes a header of 13 numbers, the name and the contents, each padded to a
// multiple of four bytes. An error stays in the buffered writer, for Flush.
func (a *archive) entry(name string, mode uint32, text []byte) {
	a.inodes++
	_, _ = a.w.WriteString("070701")
	for _, n := range []uint32{uint32(a.inodes), mode, 0, 0, 1, 0, uint32(len(text)), 0, 0, 0, 0, uint32(len(name) + 1), 0} {
		fmt.Fprintf(a.w, "%08X", n)
	}
	_, _ = a.w.WriteString(name + "\x00")
	a.pad(110 + len(name) + 1)
	_, _ = a.w.Write(text)
	a.pad(len(text))
}

func (a *archive) pad(written int) {
	_, _ = a.w.Write(make([]byte, (4-written%4)%4))
}
