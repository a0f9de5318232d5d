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
	EventSize  = WhoSize + FileIDSize + 16 + cgroup.Size
	FileIDSize = 16
)

// Who identifies a process, as in the events of BPF programs.
type Who struct {
	PID, PPID int
	UID       uint32        // real
	Start     time.Duration // since boot, in whole clock ticks, as in Info
	// RootOnHost: the process has the effective user id of root, and the mount namespace and
	// the root directory of init (is_root_on_host in bpf/process.h). It may be in a
	// container's cgroup.
	RootOnHost bool
}

// An Instance identifies a process for good: a pid is reused, but not within a clock tick. The
// parent of a process can change.
type Instance struct {
	PID   int
	Start time.Duration // as in Who
}

// Instance returns the instance of the process.
func (w Who) Instance() Instance { return Instance{w.PID, w.Start} }

// An Execution identifies one execution of a program by a process.
type Execution struct {
	PID   int
	Start time.Duration // of the process, as in Who
	Exec  uint64        // self_exec_id: number of execs of the process
}

// Open returns a handle of the process, as Who.Open does. It may execute another program now.
func (x Execution) Open() (*Handle, error) { return Who{PID: x.PID, Start: x.Start}.Open() }

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
	// HostRoot: a path means to the process what it means to init. It is in the initial user
	// namespace, and has the mount namespace and the root directory of init.
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

		RootOnHost: binary.NativeEndian.Uint32(b[20:]) != 0,
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

// DecodeAll reads the output of a BPF iterator (bpf/list.h), and calls visit for each
// process, with the extra bytes before it. These are valid until visit returns.
func DecodeAll(list io.Reader, extra int, paths cgroup.Parser, visit func(extra []byte, e Event)) error {
	in := bufio.NewReaderSize(list, 32<<10) // the kernel's buffer for one read
	record := make([]byte, extra+EventSize)
	levels := len(record) - cgroup.Size + cgroup.HeadSize // offset of the cgroup's levels
	var at *cgroup.Cgroup                                 // of the previous process
	for {
		switch _, err := io.ReadFull(in, record[:levels]); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("listing processes: %w", err)
		}
		e, same := decode(record[extra:])
		if same && at == nil {
			return errors.New("listing processes: the first one has no cgroup")
		}
		if !same {
			path := record[levels-cgroup.HeadSize:]
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
		visit(record[:extra], e)
	}
}

// decode decodes a struct process without its cgroup. same reports whether the cgroup is
// that of the previous process.
func decode(b []byte) (e Event, same bool) {
	flag := func(at int) bool { return binary.NativeEndian.Uint32(b[WhoSize+FileIDSize+at:]) != 0 }
	return Event{Who: DecodeWho(b), File: DecodeFileID(b[WhoSize:]), FileDeleted: flag(0), HostRoot: flag(4)}, flag(8)
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
