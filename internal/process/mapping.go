package process

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxMappingPath is how many bytes of a mapping's path are kept: as many as tell
// memory that has no file on a disk (/memfd:, /dev/shm/, [heap]) from others.
const maxMappingPath = 64

// A Mapping is a range of a process's memory, as in /proc/PID/maps.
type Mapping struct {
	Start, End uint64 // of addresses; End is the first behind it
	Perms      Perms
	// Dev and Inode name the mapped file, as in stat(2). Both are 0 for memory
	// without a file.
	Dev, Inode uint64
	// Path is the first 64 bytes of the file's path, or what the kernel shows in
	// its place, such as "[heap]". It is the process's choice: any bytes.
	Path string
	// Deleted says that " (deleted)" is behind the path. A process can name a file so.
	Deleted bool
}

// Size returns the number of bytes.
func (m Mapping) Size() uint64 { return m.End - m.Start }

// Perms are what may be done with a mapping.
type Perms uint8

// The bits of Perms. Without Shared, what is written is private to the process.
const (
	Readable Perms = 1 << iota
	Writable
	Executable
	Shared
)

// String returns p as in /proc/PID/maps, such as "r-xp".
func (p Perms) String() string {
	text := []byte("---p")
	for i, c := range []byte("rwxs") {
		if p&(1<<i) != 0 {
			text[i] = c
		}
	}
	return string(text)
}

func parsePerms(text []byte) (Perms, error) {
	var p Perms
	if len(text) != 4 {
		return 0, fmt.Errorf("permissions %q", text)
	}
	for i, c := range []byte("rwxs") {
		if text[i] == c {
			p |= 1 << i
		}
	}
	return p, nil
}

// parseMapping parses a line of /proc/PID/maps, without its newline:
// "START-END PERMS OFFSET MAJOR:MINOR INODE" and, after spaces, the path.
func parseMapping(line []byte) (Mapping, error) {
	var fields [5][]byte
	rest := line
	for i := range fields {
		fields[i], rest, _ = bytes.Cut(rest, []byte(" "))
	}
	from, to, _ := bytes.Cut(fields[0], []byte("-"))
	major, minor, _ := bytes.Cut(fields[3], []byte(":"))
	start, err1 := parseNumber(from, 16)
	end, err2 := parseNumber(to, 16)
	perms, err3 := parsePerms(fields[1])
	high, err4 := parseNumber(major, 16)
	low, err5 := parseNumber(minor, 16)
	inode, err6 := parseNumber(fields[4], 10)
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return Mapping{}, fmt.Errorf("parsing a mapping: %w", err)
	}
	if start >= end {
		return Mapping{}, fmt.Errorf("parsing a mapping: from %#x to %#x", start, end)
	}
	m := Mapping{Start: start, End: end, Perms: perms, Inode: inode, Dev: unix.Mkdev(uint32(high), uint32(low))}
	m.setPath(bytes.TrimLeft(rest, " "))
	return m, nil
}

func (m *Mapping) setPath(path []byte) {
	m.Path = string(path[:min(len(path), maxMappingPath)])
	m.Deleted = bytes.HasSuffix(path, []byte(" (deleted)"))
}

// parseNumber parses a number that is not negative.
func parseNumber(text []byte, base int) (uint64, error) {
	return strconv.ParseUint(string(text), base, 64)
}
