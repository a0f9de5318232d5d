package process

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cryptnono/cryptnono/internal/cgroup"
)

const (
	// WhoSize and EventSize are the sizes in bytes of struct who and struct process
	// in bpf/process.h, of which Who and Event are the twins.
	WhoSize   = 24
	EventSize = WhoSize + FileIDSize + 16 + cgroup.Size
	// FileIDSize is the size in bytes of struct file_id there.
	FileIDSize = 16
)

// Who names a process, as the kernel tells it.
type Who struct {
	PID, PPID int
	UID       uint32        // real
	Start     time.Duration // since boot, in whole clock ticks, as in Info
}

// A FileID tells one file from all others, whatever paths lead to it: its inode, the
// file system's device as the kernel numbers it, and the inode's generation, since its
// number is used again. The zero value is no file.
type FileID struct {
	Inode              uint64
	Device, Generation uint32
}

// An Event is a process, as the kernel tells it.
type Event struct {
	Who
	File        FileID // that it runs; zero of a kernel thread
	FileDeleted bool
	// HostRoot says that paths lead it to the files that init sees, as far as its mount
	// namespace and its root directory go.
	HostRoot bool
	Cgroup   cgroup.Cgroup
}

// DecodeWho decodes the first WhoSize bytes of b, which must be there.
func DecodeWho(b []byte) Who {
	return Who{
		Start: time.Duration(binary.NativeEndian.Uint64(b)).Truncate(ClockTick),
		PID:   int(binary.NativeEndian.Uint32(b[8:])),
		PPID:  int(binary.NativeEndian.Uint32(b[12:])),
		UID:   binary.NativeEndian.Uint32(b[16:]),
	}
}

// DecodeFileID decodes the first FileIDSize bytes of b, which must be there.
func DecodeFileID(b []byte) FileID {
	return FileID{
		Inode:      binary.NativeEndian.Uint64(b),
		Device:     binary.NativeEndian.Uint32(b[8:]),
		Generation: binary.NativeEndian.Uint32(b[12:]),
	}
}

// DecodeAll reads a list of the kernel's (bpf/list.h) to its end, and calls take for each
// process, with the extra bytes before it. They are valid until take returns.
func DecodeAll(list io.Reader, extra int, paths cgroup.Parser, take func(extra []byte, e Event)) error {
	in := bufio.NewReaderSize(list, 32<<10) // as much as the kernel gives at once
	one := make([]byte, extra+EventSize)
	levels := len(one) - cgroup.Size + cgroup.HeadSize // where they begin
	var at *cgroup.Cgroup                              // of the process before
	for {
		switch _, err := io.ReadFull(in, one[:levels]); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("listing processes: %w", err)
		}
		e, same := decode(one[extra:])
		if same && at == nil {
			return errors.New("listing processes: the first one has no cgroup")
		}
		if !same {
			path := one[levels-cgroup.HeadSize:]
			path = path[:cgroup.HeadSize+cgroup.LevelsSize(path)]
			if _, err := io.ReadFull(in, path[cgroup.HeadSize:]); err != nil {
				return fmt.Errorf("listing processes: %w", err)
			}
			c, err := paths.Decode(path)
			if err != nil {
				return err
			}
			at = &c
		}
		e.Cgroup = *at
		take(one[:extra], e)
	}
}

// decode decodes a struct process but for its cgroup, and whether that is the one of the
// process before.
func decode(b []byte) (e Event, same bool) {
	flag := func(at int) bool { return binary.NativeEndian.Uint32(b[WhoSize+FileIDSize+at:]) != 0 }
	return Event{Who: DecodeWho(b), File: DecodeFileID(b[WhoSize:]), FileDeleted: flag(0), HostRoot: flag(4)}, flag(8)
}

// Open returns the handle of the very process that was named, or ErrGone if it has
// ended, whoever has its pid now.
func (w Who) Open() (*Handle, error) {
	h, err := Open(w.PID)
	if err != nil {
		return nil, err
	}
	if h.start != w.Start {
		h.Close()
		return nil, fmt.Errorf("opening process %d: %w, its pid was reused", w.PID, ErrGone)
	}
	return h, nil
}

// Look returns who has this pid now, or ErrGone. It is for those who may not ask the
// kernel's programs.
func Look(pid int) (Who, error) {
	info, _, err := Describe(pid)
	if err != nil {
		return Who{}, fmt.Errorf("looking at process %d: %w", pid, err)
	}
	return Who{PID: pid, PPID: info.PPID, UID: info.UID, Start: info.Start}, nil
}
