package procread

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/rawfile"
)

const (
	// maxMapsBytes is the maximum length of a list of mappings that is sent, and fullMapsBytes
	// the length after which lines are cut to shortMapsLine bytes. So with the default limit of
	// 65,530 mappings (vm.max_map_count), none is left out, whatever their paths.
	maxMapsBytes  = 16 << 20
	fullMapsBytes = 7 << 20
	shortMapsLine = 128
	// maxPath is the maximum length of the path of a mapping in bytes. There are longer
	// ones.
	maxPath = 4096
	// maxMapsLine is the length at which a line is cut. All fields before the path have at
	// most 97 bytes.
	maxMapsLine = 128 + maxPath
)

// ErrTruncated means that a process has more mappings than are read: 16 MiB of text with cut paths.
var ErrTruncated = errors.New("more mappings than are read")

// A Mapping is a part of the address space of a process, as in /proc/PID/maps: see proc(5).
type Mapping struct {
	Start, End                   uint64
	Read, Write, Execute, Shared bool
	Offset                       uint64 // in the file
	// Device and Inode are those of the file, 0 for anonymous memory. Device has the form
	// of unix.Mkdev. On overlayfs and btrfs, stat shows other ones.
	Device, Inode uint64
	// Path is shown by the kernel: "\012" can stand for a newline or for itself, a removed
	// file ends with " (deleted)", and some memory has a name such as "[heap]", which
	// starts with no slash. After 4096 bytes it is cut, and in a list of more than 7 MiB after
	// about 50 bytes.
	Path string
}

// Mappings calls visit for each mapping, in the order of addresses, until visit returns an
// error, and returns that. If the process has more mappings than are read, visit is called
// for the first ones, and the error is ErrTruncated. It is process.ErrGone or ErrStuck as
// in Read. After any other error, such as for an exec meanwhile, the mappings that visit
// has got may be of two programs; the caller can try again.
//
// A process that changes its mappings meanwhile can be listed without some of them, or
// with some that overlap. While visit runs, no other process of the owner is read.
func (r *Reader) Mappings(ctx context.Context, h *process.Handle, owner string, visit func(Mapping) error) error {
	p := mapsParser{visit: visit}
	requests := slices.Values([]request{{kind: requestMaps}})
	flags, err := r.stream(ctx, h, owner, requests, p.add)
	switch {
	case err != nil:
	case flags&endTruncated != 0:
		err = ErrTruncated
	default:
		err = p.end()
	}
	if err != nil {
		err = fmt.Errorf("reading the mappings of process %d: %w", h.PID(), err)
	}
	return err
}

// maps sends the list of mappings, and returns flags for frameEnd.
func (s *server) maps(q request) (flags byte, err error) {
	f, err := rawfile.Open(q.image.Dir() + "/maps")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var c mapsCutter
	var kept []byte
	send := func() error {
		defer func() { kept = kept[:0] }()
		return s.out.write(frameData, kept) // also of no bytes, as in keepAlive
	}
	n := 0
	err = s.read(f, math.MaxInt, func(chunk []byte) error {
		text := c.cut(chunk)
		if n++; n%mapsTogether == 0 || len(kept)+len(text) > maxFrame {
			if err := send(); err != nil {
				return err
			}
		}
		kept = append(kept, text...)
		return c.enough()
	})
	if errors.Is(err, errEnough) {
		flags, err = endTruncated, nil
	}
	if err == nil {
		err = send()
	}
	if err != nil {
		return 0, fmt.Errorf("reading maps: %w", err)
	}
	return flags, nil
}

// mapsTogether is the number of pieces of /proc/PID/maps that are sent together. The kernel returns
// at most a page or a line for each read.
const mapsTogether = 16

// A mapsCutter cuts the text of /proc/PID/maps, in pieces. A process can have more than 200 MB of it.
type mapsCutter struct{ sent, column int }

// cut returns what is to be sent of the next piece, in its memory.
func (c *mapsCutter) cut(text []byte) []byte {
	longest := maxMapsLine
	if c.sent > fullMapsBytes {
		longest = shortMapsLine
	}
	kept := text[:0]
	for len(text) > 0 {
		line, rest, ended := bytes.Cut(text, []byte{'\n'})
		kept = append(kept, line[:min(len(line), max(0, longest-c.column))]...)
		c.column += len(line)
		if ended {
			kept = append(kept, '\n')
			c.column = 0
		}
		text = rest
	}
	kept = kept[:min(len(kept), maxMapsBytes-c.sent)]
	c.sent += len(kept)
	return kept
}

var errEnough = errors.New("enough was read")

// enough returns errEnough if no more is to be sent.
func (c *mapsCutter) enough() error {
	if c.sent == maxMapsBytes {
		return errEnough
	}
	return nil
}

// A mapsParser parses the text of /proc/PID/maps, in pieces.
type mapsParser struct {
	visit func(Mapping) error
	total int
	line  []byte // the start of a line whose end is to come
	path  string // of the last mapping, which often has that of the next
}

func (p *mapsParser) add(text []byte) error {
	if p.total += len(text); p.total > maxMapsBytes {
		return fmt.Errorf("%w: %d bytes of mappings", errProtocol, p.total)
	}
	for len(text) > 0 {
		line, rest, ended := bytes.Cut(text, []byte{'\n'})
		text = rest
		p.line = append(p.line, line[:min(len(line), maxMapsLine-len(p.line))]...)
		if !ended {
			break
		}
		m, err := parseMapping(p.line, &p.path)
		if err != nil {
			return err
		}
		p.line = p.line[:0]
		if err := p.visit(m); err != nil {
			return err
		}
	}
	return nil
}

// end returns an error if the text does not end with a line.
func (p *mapsParser) end() error {
	if len(p.line) > 0 {
		return fmt.Errorf("a line of /proc/PID/maps without end: %.200q", p.line)
	}
	return nil
}

// parseMapping parses a line of /proc/PID/maps. path has the path of the line before.
func parseMapping(line []byte, path *string) (Mapping, error) {
	var m Mapping
	var err error
	rest := line
	number := func(end string, base, bits int) uint64 {
		field, after, found := bytes.Cut(rest, []byte(end))
		n, invalid := strconv.ParseUint(string(field), base, bits)
		if !found || invalid != nil {
			err = errors.Join(errors.New("invalid number"), invalid)
		}
		rest = after
		return n
	}
	m.Start = number("-", 16, 64)
	m.End = number(" ", 16, 64)
	mode, rest, _ := bytes.Cut(rest, []byte{' '})
	flag := func(i int, set, unset byte) bool {
		if len(mode) != 4 || mode[i] != set && mode[i] != unset {
			err = errors.New("invalid permissions")
			return false
		}
		return mode[i] == set
	}
	m.Read, m.Write, m.Execute, m.Shared = flag(0, 'r', '-'), flag(1, 'w', '-'), flag(2, 'x', '-'), flag(3, 's', 'p')
	m.Offset = number(" ", 16, 64)
	major := number(":", 16, 12)
	minor := number(" ", 16, 20)
	m.Device = unix.Mkdev(uint32(major), uint32(minor))
	m.Inode = number(" ", 10, 64)
	if err == nil && m.End <= m.Start {
		err = errors.New("it has no bytes")
	}
	if err != nil {
		return Mapping{}, fmt.Errorf("parsing a line of /proc/PID/maps, %.200q: %w", line, err)
	}
	name := bytes.TrimLeft(rest, " ")
	if name = name[:min(len(name), maxPath)]; string(name) != *path {
		*path = string(name)
	}
	m.Path = *path
	return m, nil
}
