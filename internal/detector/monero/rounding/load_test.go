package rounding

import (
	"math/rand/v2"
	"slices"
	"time"
)

// A program returns the mode and the code of a thread at a CPU time, which never decreases.
type program func(cpu time.Duration) (uint8, Code)

// draws picks the mode of each sample at random with these shares.
func draws(shares [4]float64, code Code) func(*rand.Rand) program {
	return func(r *rand.Rand) program {
		return func(time.Duration) (uint8, Code) {
			x := r.Float64()
			for mode, share := range shares {
				if x -= share; x < 0 {
					return uint8(mode), code
				}
			}
			return 0, code
		}
	}
}

// Shares of the modes of miners.
var (
	randomX     = [4]float64{.31, .23, .23, .23}
	cryptonight = [4]float64{.15, 0, .85, 0}
)

// interpreter is RandomX with programs of the given duration. 37 % of them set no mode;
// eight make a hash, which starts in the nearest mode.
func interpreter(each time.Duration) func(*rand.Rand) program {
	return func(r *rand.Rand) program {
		mode, sets, next := uint8(0), false, 0
		return func(cpu time.Duration) (uint8, Code) {
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
				return uint8(r.IntN(4)), FileCode
			}
			return mode, FileCode
		}
	}
}

// cycle uses the modes in order. hold returns for how long each is held.
func cycle(hold func(*rand.Rand) time.Duration) func(*rand.Rand) program {
	return walk(hold, func(_ *rand.Rand, mode uint8) uint8 { return (mode + 1) & 3 })
}

// wander changes from each mode to a random other one.
func wander(hold func(*rand.Rand) time.Duration) func(*rand.Rand) program {
	return walk(hold, func(r *rand.Rand, mode uint8) uint8 { return (mode + 1 + uint8(r.IntN(3))) & 3 })
}

func walk(hold func(*rand.Rand) time.Duration, step func(*rand.Rand, uint8) uint8) func(*rand.Rand) program {
	return func(r *rand.Rand) program {
		mode, until := uint8(0), time.Duration(0)
		return func(cpu time.Duration) (uint8, Code) {
			for until <= cpu {
				mode = step(r, mode)
				until += max(hold(r), time.Microsecond)
			}
			return mode, FileCode
		}
	}
}

func exactly(d time.Duration) func(*rand.Rand) time.Duration {
	return func(*rand.Rand) time.Duration { return d }
}

func about(d time.Duration) func(*rand.Rand) time.Duration {
	return func(r *rand.Rand) time.Duration { return time.Duration(float64(d) * r.ExpFloat64()) }
}

// asTests returns the duration of a case of a test suite: 50 ms to 6.4 s.
func asTests(r *rand.Rand) time.Duration {
	return 50 * time.Millisecond << r.IntN(8)
}

// A clock returns the CPU time from one sample to the next, on average a period.
type clock func(r *rand.Rand, period time.Duration) time.Duration

var clocks = map[string]clock{
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

// A load describes the threads of a subject.
type load struct {
	programs []func(*rand.Rand) program // one per thread
	clock    clock
	period   time.Duration // CPU time between the samples of a thread
	share    float64       // of a CPU that each thread gets
	lives    int           // samples after which a thread ends and a new one begins; 0 for never
}

// run adds samples until rule J matches, for at most the given wall time. It returns the
// strongest decision and when it was made.
func (l load) run(seed uint64, atMost time.Duration) (strongest Decision, after time.Duration) {
	r := rand.New(rand.NewPCG(seed, 1))
	s := NewSubject(Defaults())
	newest := make([]Sample, len(l.programs))
	running := make([]program, len(l.programs))
	for n := 0; s.now < atMost && strongest.Rule < JIT; n++ {
		for i := range newest {
			x := &newest[i]
			if n == 0 || l.lives > 0 && n%l.lives == 0 {
				*x = Sample{Thread: r.Uint64() | 1, At: x.At}
				running[i] = l.programs[i](r)
			}
			gap := max(l.clock(r, l.period), Spacing)
			x.CPU += gap
			x.At += time.Duration(float64(gap) / l.share)
			x.Mode, x.Code = running[i](x.CPU)
			if d := s.Add(*x); d.Rule > strongest.Rule {
				strongest, after = d, s.now
			}
		}
	}
	return strongest, after
}

func times(n int, p func(*rand.Rand) program) []func(*rand.Rand) program {
	return slices.Repeat([]func(*rand.Rand) program{p}, n)
}
