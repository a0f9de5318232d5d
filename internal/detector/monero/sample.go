package monero

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cryptnono/cryptnono/internal/process"
)

// newProgram is NEW_PROGRAM in monero.bpf.c: the process has executed another
// program.
const newProgram = 4

// key names one process for good; its pid alone does not.
type key struct {
	pid   int
	start time.Duration // since boot, in whole clock ticks
}

// sample is a thread's rounding mode when it was switched out.
type sample struct {
	process key
	thread  uint64 // unique among all threads there ever were, in practice
	cgroup  uint64
	cpu     int
	at      time.Duration // monotonic
	used    time.Duration // CPU time of the thread
	ip      uint64
	mode    uint8 // or newProgram
}

func decodeSample(record []byte) (sample, error) {
	var raw bpfSample
	if _, err := binary.Decode(record, binary.NativeEndian, &raw); err != nil {
		return sample{}, fmt.Errorf("decoding %d bytes of a sample: %w", len(record), err)
	}
	return sample{
		process: key{int(raw.Pid), time.Duration(raw.ProcessStartNs).Truncate(process.ClockTick)},
		thread:  raw.ThreadStartNs<<22 ^ uint64(raw.Tid), // a thread id has 22 bits at most
		cgroup:  raw.CgroupId,
		cpu:     int(raw.Cpu),
		at:      time.Duration(raw.AtNs),
		used:    time.Duration(raw.CpuNs),
		ip:      raw.Ip,
		mode:    uint8(raw.Mode),
	}, nil
}
