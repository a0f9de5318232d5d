package monero

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cryptnono/cryptnono/internal/fair"
	"github.com/cryptnono/cryptnono/internal/process"
)

// A sample is the rounding mode with which a thread left the CPU. On x86-64 it is taken then,
// on arm64 when the thread is switched in again.
type sample struct {
	program process.Execution
	tid     int
	thread  uint64 // start time and tid: unique in practice, across reuse of tids
	owner   fair.Owner
	uid     uint32
	cpu     int
	at      time.Duration // monotonic
	wall    time.Time
	used    time.Duration // CPU time of the thread
	mode    uint8
	code    bpfCode
	file    version // of the instruction, if place is COMPILED
}

func decodeSample(record []byte) (sample, error) {
	var raw bpfSample
	if _, err := binary.Decode(record, binary.NativeEndian, &raw); err != nil {
		return sample{}, fmt.Errorf("decoding %d bytes of a sample: %w", len(record), err)
	}
	at := time.Duration(raw.AtNs)
	return sample{
		program: process.Execution{PID: int(raw.Pid), Start: time.Duration(raw.ProcessStartNs).Truncate(process.ClockTick), Exec: raw.ExecId},
		tid:     int(raw.Tid),
		thread:  raw.ThreadStartNs<<22 ^ uint64(raw.Tid), // a thread id has 22 bits at most
		owner:   fair.Owner{UID: raw.Responsible, Cgroup: raw.CgroupId},
		uid:     raw.Uid,
		cpu:     int(raw.Cpu),
		at:      at,
		wall:    time.Now().Add(at - process.Monotonic()),
		used:    time.Duration(raw.CpuNs),
		mode:    uint8(raw.Mode),
		code:    bpfCode(raw.Code),
		file:    version{raw.File, time.Unix(0, int64(raw.ChangedNs))},
	}, nil
}
