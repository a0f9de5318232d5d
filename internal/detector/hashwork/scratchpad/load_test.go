package scratchpad

import "math/rand/v2"

// A load is a simulated process.
type load struct {
	arch    Arch
	code    []byte // of each hot line
	lines   int    // hot lines
	threads int
	samples int
	// point returns the value of the interesting register. The others are arbitrary.
	point func(r *rand.Rand, thread int) uint64
	// holds is the share of samples in which the register holds that value, and not another.
	holds float64
	// hot is the share of samples in the hot lines.
	hot float64
}

// base is where the memory of a simulated process begins. It is not aligned to a window, so
// that one of the windows below crosses a multiple of 4 GiB.
const base = 0x7f12_ff80_3000

// run returns the finding for the samples in the order that they were taken in.
func (l load) run(seed uint64) Finding {
	r := rand.New(rand.NewPCG(seed, 1))
	s := New(l.arch)
	code := make(map[uint64][]byte)
	for i := range l.lines {
		code[uint64(0x400000+i*LineBytes)] = l.code
	}
	registers := make([]uint64, l.arch.Registers())
	for range l.samples {
		thread := r.IntN(l.threads)
		for i := range registers {
			switch i % 3 {
			case 0: // a constant: a base or a pointer to the stack
				registers[i] = 0x7ffc_1234_5678 + uint64(thread)<<20
			case 1: // data
				registers[i] = r.Uint64()
			case 2: // a small number
				registers[i] = uint64(r.IntN(1000))
			}
		}
		const at = 7 // otherwise data
		if r.Float64() < l.holds {
			registers[at] = l.point(r, thread)
		}
		ip := uint64(0x400000 + r.IntN(l.lines)*LineBytes + r.IntN(LineBytes))
		if r.Float64() >= l.hot {
			ip = 0x800000 + r.Uint64N(1<<20)
		}
		s.Add(int32(thread)+1, ip, registers)
	}
	return s.Judge(code)
}

// pad points evenly at each 16 bytes of a scratchpad. Those of the threads are neighbours.
func pad(size uint64) func(*rand.Rand, int) uint64 {
	return func(r *rand.Rand, thread int) uint64 {
		return base + uint64(thread)*size + r.Uint64N(size)&^15
	}
}

// buffer points at bytes of a buffer, or at the entries of a table.
func buffer(size, step uint64) func(*rand.Rand, int) uint64 {
	return func(r *rand.Rand, _ int) uint64 { return base + r.Uint64N(size)/step*step }
}

// skewed points at entries of a table, some of which are used more than others.
func skewed(size uint64) func(*rand.Rand, int) uint64 {
	return func(r *rand.Rand, _ int) uint64 {
		x := r.Float64()
		return base + uint64(x*x*x*float64(size))&^15
	}
}

func counter(n uint64) func(*rand.Rand, int) uint64 {
	return func(r *rand.Rand, _ int) uint64 { return r.Uint64N(n) }
}
