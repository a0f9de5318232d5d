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

// sample is a thread's rounding mode when it was switched out.
type sample struct {
	program key
	thread  uint64 // unique among all threads there ever were, in practice
	cgroup  uint64
	cpu     int
	at      time.Duration // monotonic
	used    time.Duration // CPU time of the thread
	ip      uint64
	mode    uint8
}

func decodeSample(record []byte) (sample, error) {
	var raw bpfSample
	if _, err := binary.Decode(record, binary.NativeEndian, &raw); err != nil {
		return sample{}, fmt.Errorf("decoding %d bytes of a sample: %w", len(record), err)
	}
	return sample{
		program: key{int(raw.Pid), time.Duration(raw.ProcessStartNs).Truncate(process.ClockTick), raw.ExecId},
		thread:  raw.ThreadStartNs<<22 ^ uint64(raw.Tid), // a thread id has 22 bits at most
		cgroup:  raw.CgroupId,
		cpu:     int(raw.Cpu),
		at:      time.Duration(raw.AtNs),
		used:    time.Duration(raw.CpuNs),
		ip:      raw.Ip,
		mode:    uint8(raw.Mode),
	}, nil
}
