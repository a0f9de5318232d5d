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
	// Sizes in bytes of struct who, struct process and struct file_id in bpf/process.h,
	// which correspond to Who, Event and FileID.
	WhoSize    = 24
	EventSize  = WhoSize + FileIDSize + 8 + cgroup.Size
	FileIDSize = 16
)

// Who identifies a process, as in the events of BPF programs.
type Who struct {
	PID, PPID int
	UID       uint32        // real
	Start     time.Duration // since boot, in whole clock ticks, as in Info
}

// A FileID identifies a file independent of its paths. It includes the inode's generation,
// because inode numbers are reused. The zero value is no file.
type FileID struct {
	Inode              uint64
	Device, Generation uint32 // Device in the kernel's own encoding
}

// An Event is the data of a BPF program about a process.
type Event struct {
	Who
	File        FileID // of its program; zero for a kernel thread
	FileDeleted bool
	// HostRoot: the process has the mount namespace and the root directory of init.
	HostRoot bool
	Cgroup   cgroup.Cgroup
}

// DecodeWho decodes the first WhoSize bytes of b. It panics if b is shorter.
func DecodeWho(b []byte) Who {
	return Who{
		Start: time.Duration(binary.NativeEndian.Uint64(b)).Truncate(ClockTick),
		PID:   int(binary.NativeEndian.Uint32(b[8:])),
		PPID:  int(binary.NativeEndian.Uint32(b[12:])),
		UID:   binary.NativeEndian.Uint32(b[16:]),
	}
}

// DecodeFileID decodes the first FileIDSize bytes of b. It panics if b is shorter.
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
		return Event{}, fmt.Errorf("decoding a process: %d bytes, want %d", len(b), EventSize)
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

// DecodeAll reads the records of a BPF iterator, each of this size, and calls decode for
// each until decode returns an error. The bytes are valid until decode returns.
func DecodeAll(list io.Reader, size int, decode func([]byte) error) error {
	in := bufio.NewReaderSize(list, 32<<10) // the kernel's buffer for one read
	record := make([]byte, size)
	for {
		switch _, err := io.ReadFull(in, record); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("listing processes: %w", err)
		}
		if err := decode(record); err != nil {
			return err
		}
	}
}

// Open returns a handle of this process, or ErrGone if it has ended, even if its pid was
// reused.
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

// Identify returns the process that has this pid now, or ErrGone. It reads /proc, for callers
// without BPF.
func Identify(pid int) (Who, error) {
	info, _, err := Describe(pid)
	if err != nil {
		return Who{}, fmt.Errorf("identifying process %d: %w", pid, err)
	}
	return Who{PID: pid, PPID: info.PPID, UID: info.UID, Start: info.Start}, nil
}
