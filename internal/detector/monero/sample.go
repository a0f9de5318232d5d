package monero

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cryptnono/cryptnono/internal/process"
)

// key names one program that a process runs, for good; its pid alone does not.
type key struct {
	pid   int
	start time.Duration // of the process since boot, in whole clock ticks
	exec  uint64        // counts the programs that it has executed
}

// open returns the handle of the process, or process.ErrGone.
func (k key) open() (*process.Handle, error) {
	return process.Who{PID: k.pid, Start: k.start}.Open()
}

// An owner is who answers for a process: a user in a cgroup. What is spent on
// suspects is shared out by owner.
type owner struct {
	uid    uint32
	cgroup uint64
}

// sample is a thread's rounding mode when it was switched out, or for arm64 in again.
type sample struct {
	program key
	tid     int
	thread  uint64 // unique among all threads there ever were, in practice
	owner   owner
	cpu     int
	at      time.Duration // monotonic
	wall    time.Time
	used    time.Duration // CPU time of the thread
	mode    uint8
	place   bpfPlace
	file    version // of the instruction, if place is COMPILED
}

func decodeSample(record []byte) (sample, error) {
	var raw bpfSample
	if _, err := binary.Decode(record, binary.NativeEndian, &raw); err != nil {
		return sample{}, fmt.Errorf("decoding %d bytes of a sample: %w", len(record), err)
	}
	at := time.Duration(raw.AtNs)
	return sample{
		program: key{int(raw.Pid), time.Duration(raw.ProcessStartNs).Truncate(process.ClockTick), raw.ExecId},
		tid:     int(raw.Tid),
		thread:  raw.ThreadStartNs<<22 ^ uint64(raw.Tid), // a thread id has 22 bits at most
		owner:   owner{raw.Uid, raw.CgroupId},
		cpu:     int(raw.Cpu),
		at:      at,
		wall:    time.Now().Add(at - process.Monotonic()),
		used:    time.Duration(raw.CpuNs),
		mode:    uint8(raw.Mode),
		place:   bpfPlace(raw.Place),
		file:    version{raw.File, time.Unix(0, int64(raw.ChangedNs))},
	}, nil
}
