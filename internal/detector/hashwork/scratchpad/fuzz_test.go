package scratchpad

import (
	"encoding/binary"
	"testing"
)

// FuzzJudge judges arbitrary samples and code. There must be no panic, and the evidence must
// be valid.
func FuzzJudge(f *testing.F) {
	f.Add([]byte{}, []byte{}, false)
	f.Add([]byte("\x00\x00\x40\x80\x01\x02\x03\x04"), codeWith(AMD64, 1<<21, 1, true, true), false)
	f.Add(make([]byte, 4000), codeWith(ARM64, 1<<17, 2, true, false), true)
	f.Fuzz(func(t *testing.T, data, code []byte, arm64 bool) {
		a := AMD64
		if arm64 {
			a = ARM64
		}
		s := New(a)
		for ; len(data) >= 8; data = data[8:] {
			x := binary.LittleEndian.Uint64(data)
			s.Add(int32(x>>2&3), x>>4&0xfff|x&1<<63, []uint64{x >> 24, x, x >> 24 & 0x1ffff0, uint64(len(data)) << 12})
		}
		by := make(map[uint64][]byte)
		for i, line := range s.Lines() {
			by[line] = code[min(i, len(code)):]
		}
		g := s.Judge(by)
		if g.Samples != s.Len() || g.Samples > Capacity {
			t.Fatalf("%d samples of %d", g.Samples, s.Len())
		}
		for _, share := range []float64{g.Masked, g.Walks, g.AES, g.EvenWalks, g.Multiplies} {
			if !(share >= 0 && share <= 1) {
				t.Fatalf("share in %+v", g)
			}
		}
		if g.Walks > g.Masked || g.AES > g.Masked || (g.Walks > 0) != (g.Window > 0) {
			t.Fatalf("evidence %+v", g)
		}
	})
}
