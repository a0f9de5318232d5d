package hashwork

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cryptnono/cryptnono/internal/fair"
	"github.com/cryptnono/cryptnono/internal/process"
)

// A key identifies one execution of a program by a process, across reuse of pids.
type key struct {
	pid   int
	start time.Duration // start of the process since boot, in whole clock ticks
	exec  uint64        // self_exec_id: number of execs of the process
}

// open returns the handle of the process, or process.ErrGone.
func (k key) open() (*process.Handle, error) {
	return process.Who{PID: k.pid, Start: k.start}.Open()
}

// A sample is what a thread computed in user mode at a tick of the clock.
type sample struct {
	program     key
	owner       fair.Owner
	at          time.Duration // monotonic
	tid         int32
	instruction uint64
	registers   []uint64
}

func decodeSample(record []byte) (sample, error) {
	var raw bpfSample
	if _, err := binary.Decode(record, binary.NativeEndian, &raw); err != nil {
		return sample{}, fmt.Errorf("decoding %d bytes of a sample: %w", len(record), err)
	}
	return sample{
		program:     key{int(raw.Pid), time.Duration(raw.ProcessStartNs).Truncate(process.ClockTick), raw.ExecId},
		owner:       fair.Owner{UID: raw.Uid, Cgroup: raw.CgroupId},
		at:          time.Duration(raw.AtNs),
		tid:         int32(raw.Tid),
		instruction: raw.Instruction,
		registers:   raw.Registers[:],
	}, nil
}
