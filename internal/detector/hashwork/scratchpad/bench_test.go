package scratchpad

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkJudge has the worst that a process can do.
func BenchmarkJudge(b *testing.B) {
	for _, arch := range []Arch{AMD64, ARM64} {
		for _, lines := range []int{1, 8, 32, 512} {
			for _, kind := range []string{"masked", "unmasked", "both", "plain"} {
				b.Run(fmt.Sprintf("arch=%d/lines=%d/%s", arch, lines, kind), func(b *testing.B) {
					r := rand.New(rand.NewPCG(1, 1))
					s := New(arch)
					registers := make([]uint64, arch.Registers())
					for i := range Capacity {
						for j := range registers { // all walk
							registers[j] = base + r.Uint64N(1<<22)&^15
						}
						s.Add(1, uint64(0x400000+i%lines*LineBytes), registers)
					}
					code := make(map[uint64][]byte)
					for _, line := range s.Lines() {
						code[line] = codeWith(arch, 0, 0, false, false)
						switch kind {
						case "masked":
							code[line] = codeWith(arch, 1<<22, 1, true, true)
						case "both": // the mask is not that of the walk
							code[line] = codeWith(arch, 1<<17, 1, true, true)
						case "unmasked":
							code[line] = codeWith(arch, 0, 1, true, true)
						}
					}
					for b.Loop() {
						s.Judge(code)
					}
				})
			}
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	s := New(AMD64)
	registers := make([]uint64, AMD64.Registers())
	thread := int32(0)
	for b.Loop() {
		thread = (thread + 1) % MaxThreads
		s.Add(thread, 0x400000, registers)
	}
}
