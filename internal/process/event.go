package process

import (
	"encoding/binary"
	"fmt"
	"time"
)

// EventSize is the size in bytes of struct process in bpf/process.h, of which
// Event is the twin.
const EventSize = 24 + CgroupSize

// An Event is who a process is, as the kernel tells it.
type Event struct {
	PID, PPID int
	UID       uint32        // real
	Start     time.Duration // since boot, in whole clock ticks, as in Info
	Cgroup    Cgroup
}

// Decode decodes the first EventSize bytes of b.
func Decode(b []byte) (Event, error) {
	if len(b) < EventSize {
		return Event{}, fmt.Errorf("decoding a process of the kernel's: %d bytes, %d needed", len(b), EventSize)
	}
	cgroup, err := DecodeCgroup(b[24:])
	if err != nil {
		return Event{}, err
	}
	return Event{
		Start:  time.Duration(binary.LittleEndian.Uint64(b)).Truncate(ClockTick),
		PID:    int(binary.LittleEndian.Uint32(b[8:])),
		PPID:   int(binary.LittleEndian.Uint32(b[12:])),
		UID:    binary.LittleEndian.Uint32(b[16:]),
		Cgroup: cgroup,
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
