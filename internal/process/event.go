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
	EventSize = WhoSize + FileIDSize + 8 + cgroup.Size
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

// Decode decodes the first EventSize bytes of b.
func Decode(b []byte, paths cgroup.Parser) (Event, error) {
	if len(b) < EventSize {
		return Event{}, fmt.Errorf("decoding a process of the kernel's: %d bytes, %d needed", len(b), EventSize)
	}
	rest := b[WhoSize+FileIDSize:]
	at, err := paths.Decode(rest[8:])
	if err != nil {
		return Event{}, err
	}
	return Event{
		Who:         DecodeWho(b),
		File:        DecodeFileID(b[WhoSize:]),
		FileDeleted: binary.NativeEndian.Uint32(rest) != 0,
		HostRoot:    binary.NativeEndian.Uint32(rest[4:]) != 0,
		Cgroup:      at,
	}, nil
}

// DecodeAll reads records of a size from a list of the kernel's to its end, and calls
// decode for each, with bytes that are valid until it returns. It ends with decode's error.
func DecodeAll(list io.Reader, size int, decode func([]byte) error) error {
	in := bufio.NewReaderSize(list, 32<<10) // as much as the kernel gives at once
	one := make([]byte, size)
	for {
		switch _, err := io.ReadFull(in, one); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("listing processes: %w", err)
		}
		if err := decode(one); err != nil {
			return err
		}
	}
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
