package rounding

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
	"time"
)

// FuzzAdd adds arbitrary samples. The subject must stay within its bound, and the evidence
// must be valid numbers.
func FuzzAdd(f *testing.F) {
	f.Add([]byte("\x01\x02\x20\x10\x00"), uint8(3))
	f.Add(bytes.Repeat([]byte{0x81, 0xff, 0x0f, 0x01, 0x7f}, 300), uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, maxThreads uint8) {
		thresholds := Defaults()
		thresholds.MaxThreads = int(maxThreads) + 1
		s := NewSubject(thresholds)
		var now, cpu time.Duration
		for ; len(data) >= 5; data = data[5:] {
			step := time.Duration(binary.LittleEndian.Uint16(data[1:]))
			switch now += step * ms / 4; data[3] & 0x7 {
			case 0: // of any size, and sign
				cpu = time.Duration(uint64(step) << (data[3] >> 2))
			case 1:
				now = math.MaxInt64 - step
			default:
				cpu += step * ms / 16
			}
			d := s.Add(Sample{uint64(data[0]), cpu, now, data[4], Code(data[3] >> 6)})
			if len(s.threads) > thresholds.MaxThreads {
				t.Fatalf("%d threads", len(s.threads))
			}
			sum := d.Modes[0] + d.Modes[1] + d.Modes[2] + d.Modes[3]
			if d.Samples > 0 && math.Abs(sum-1) > 1e-9 || d.Window < 0 ||
				!(d.JIT >= 0 && d.JIT <= 1 && d.RepeatShare >= 0 && d.RepeatShare <= 1 && d.UniformChi2 >= 0 && d.IndependentChi2 >= 0) {
				t.Fatalf("evidence %+v", d)
			}
		}
	})
}
