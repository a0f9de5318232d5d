package process

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	cgroupLevels = 8
	cgroupName   = 128 // bytes, NUL included

	// EventSize is the size in bytes of struct process in bpf/process.h, of
	// which Event is the twin.
	EventSize = 32 + cgroupLevels*cgroupName
)

// An Event is who a process was when the kernel told of it.
type Event struct {
	PID, PPID int
	UID       uint32        // real
	Start     time.Duration // since boot, in whole clock ticks, as in Info
	CgroupID  uint64
	// Cgroup is the path in cgroup v2, "/" for the root. It has the lowest 8
	// levels: if there may be more, it begins with ".../". Names are cut after
	// 127 bytes.
	Cgroup string
}

// Decode decodes the first EventSize bytes of b.
func Decode(b []byte) (Event, error) {
	if len(b) < EventSize {
		return Event{}, fmt.Errorf("decoding a process of the kernel's: %d bytes, %d needed", len(b), EventSize)
	}
	return Event{
		Start:    time.Duration(binary.LittleEndian.Uint64(b)).Truncate(ClockTick),
		CgroupID: binary.LittleEndian.Uint64(b[8:]),
		PID:      int(binary.LittleEndian.Uint32(b[16:])),
		PPID:     int(binary.LittleEndian.Uint32(b[20:])),
		UID:      binary.LittleEndian.Uint32(b[24:]),
		Cgroup:   joinCgroup(b[32:EventSize]),
	}, nil
}

// Open returns the handle of the very process that the event tells of, or
// ErrGone if it has ended, whoever has its pid now.
func (e Event) Open() (*Handle, error) {
	h, err := Open(e.PID)
	if err != nil {
		return nil, err
	}
	if h.start != e.Start {
		h.Close()
		return nil, fmt.Errorf("opening process %d: %w, its pid was reused", e.PID, ErrGone)
	}
	return h, nil
}

// joinCgroup makes a path of the names that the kernel found on the way up. The
// root is the only one without a name.
func joinCgroup(levels []byte) string {
	var names []string
	for level := range slices.Chunk(levels, cgroupName) {
		name, _, _ := bytes.Cut(level, []byte{0})
		if len(name) == 0 {
			break
		}
		names = append(names, string(name))
	}
	slices.Reverse(names)
	path := "/" + strings.Join(names, "/")
	if len(names) == cgroupLevels {
		return "..." + path
	}
	return path
}
