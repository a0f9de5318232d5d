package rounding

import (
	"math/rand/v2"
	"slices"
	"time"
)

// A program gives the mode and the place of a thread that has used so much CPU
// time, which never falls.
type program func(cpu time.Duration) (uint8, Memory)

// draws picks a mode anew for each sample, in these shares.
func draws(shares [4]float64, memory Memory) func(*rand.Rand) program {
	return func(r *rand.Rand) program {
		return func(time.Duration) (uint8, Memory) {
			x := r.Float64()
			for mode, share := range shares {
				if x -= share; x < 0 {
					return uint8(mode), memory
				}
			}
			return 0, memory
		}
	}
}

// Shares of the modes of miners.
var (
	randomX     = [4]float64{.31, .23, .23, .23}
	cryptonight = [4]float64{.15, 0, .85, 0}
)

// interpreter is RandomX with programs of the given duration, 37 % of which set
// no mode, and eight of which make a hash that starts in the nearest mode.
func interpreter(each time.Duration) func(*rand.Rand) program {
	return func(r *rand.Rand) program {
		mode, sets, next := uint8(0), false, 0
		return func(cpu time.Duration) (uint8, Memory) {
			for ; next <= int(cpu/each); next++ {
				if sets {
					mode = uint8(r.IntN(4))
				}
				if next%8 == 0 {
					mode = 0
				}
				sets = r.Float64() > .37
			}
			if sets {
				return uint8(r.IntN(4)), FileMemory
			}
			return mode, FileMemory
		}
	}
}

// cycle goes through the modes in turn; a hold lasts what its function says.
func cycle(hold func(*rand.Rand) time.Duration) func(*rand.Rand) program {
	return walk(hold, func(_ *rand.Rand, mode uint8) uint8 { return (mode + 1) & 3 })
}

// wander goes from each mode to any other.
func wander(hold func(*rand.Rand) time.Duration) func(*rand.Rand) program {
	return walk(hold, func(r *rand.Rand, mode uint8) uint8 { return (mode + 1 + uint8(r.IntN(3))) & 3 })
}

func walk(hold func(*rand.Rand) time.Duration, step func(*rand.Rand, uint8) uint8) func(*rand.Rand) program {
	return func(r *rand.Rand) program {
		mode, until := uint8(0), time.Duration(0)
		return func(cpu time.Duration) (uint8, Memory) {
			for until <= cpu {
				mode = step(r, mode)
				until += max(hold(r), time.Microsecond)
			}
			return mode, FileMemory
		}
	}
}

func exactly(d time.Duration) func(*rand.Rand) time.Duration {
	return func(*rand.Rand) time.Duration { return d }
}

func about(d time.Duration) func(*rand.Rand) time.Duration {
	return func(r *rand.Rand) time.Duration { return time.Duration(float64(d) * r.ExpFloat64()) }
}

// asTests is how long the cases of a test suite take: 50 ms to 6.4 s.
func asTests(r *rand.Rand) time.Duration {
	return 50 * time.Millisecond << r.IntN(8)
}

// A sampler gives the CPU time from one sample to the next, on average a
// period.
type sampler func(r *rand.Rand, period time.Duration) time.Duration

var samplers = map[string]sampler{
	"a steady clock": func(r *rand.Rand, period time.Duration) time.Duration {
		return period + time.Duration(r.NormFloat64()*float64(20*time.Microsecond))
	},
	"scheduler ticks": func(r *rand.Rand, period time.Duration) time.Duration {
		const tick = 4 * time.Millisecond
		ticks := float64(period/tick) * (.7 + .6*r.Float64())
		return tick*time.Duration(ticks+.5) + time.Duration(r.NormFloat64()*float64(50*time.Microsecond))
	},
	"chance": func(r *rand.Rand, period time.Duration) time.Duration {
		return time.Duration(r.ExpFloat64() * float64(period))
	},
}

// A load is what runs in a subject.
type load struct {
	programs []func(*rand.Rand) program // one a thread
	sampler  sampler
	period   time.Duration // CPU time between the samples of a thread
	share    float64       // of a CPU that each thread gets
	lives    int           // samples after which a thread ends and a new one begins; 0 for never
}

// run feeds a subject until a miner is found, for so much wall time at most. It
// returns the gravest decision and when it was made.
func (l load) run(seed uint64, atMost time.Duration) (gravest Decision, after time.Duration) {
	r := rand.New(rand.NewPCG(seed, 1))
	s := NewSubject(Defaults())
	newest := make([]Sample, len(l.programs))
	running := make([]program, len(l.programs))
	for n := 0; s.now < atMost && gravest.Rule < JIT; n++ {
		for i := range newest {
			x := &newest[i]
			if n == 0 || l.lives > 0 && n%l.lives == 0 {
				*x = Sample{Thread: r.Uint64() | 1, At: x.At}
				running[i] = l.programs[i](r)
			}
			gap := max(l.sampler(r, l.period), Spacing)
			x.CPU += gap
			x.At += time.Duration(float64(gap) / l.share)
			x.Mode, x.Memory = running[i](x.CPU)
			if d := s.Add(*x); d.Rule > gravest.Rule {
				gravest, after = d, s.now
			}
		}
	}
	return gravest, after
}

func times(n int, p func(*rand.Rand) program) []func(*rand.Rand) program {
	return slices.Repeat([]func(*rand.Rand) program{p}, n)
}
