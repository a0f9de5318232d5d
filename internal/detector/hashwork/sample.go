package hashwork

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cryptnono/cryptnono/internal/fair"
	"github.com/cryptnono/cryptnono/internal/process"
)

// A sample is what a thread computed in user mode at a tick of the clock.
type sample struct {
	program     process.Execution
	owner       fair.Owner
	uid         uint32
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
		program:     process.Execution{PID: int(raw.Pid), Start: time.Duration(raw.ProcessStartNs).Truncate(process.ClockTick), Exec: raw.ExecId},
		owner:       fair.Owner{UID: raw.Responsible, Cgroup: raw.CgroupId},
		uid:         raw.Uid,
		at:          time.Duration(raw.AtNs),
		tid:         int32(raw.Tid),
		instruction: raw.Instruction,
		registers:   raw.Registers[:],
	}, nil
}
