package scratchpad

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// count runs a load several times, and returns the number of findings of each verdict.
func (l load) count(runs int) (n [3]int) {
	for seed := range uint64(runs) {
		n[l.run(seed).Verdict()]++
	}
	return n
}

func TestSimulatedMinersAreFound(t *testing.T) {
	for _, arch := range []Arch{AMD64, ARM64} {
		want := map[Arch]Verdict{AMD64: Kill, ARM64: Observe}[arch]
		for k := smallest; k <= largest; k++ {
			l := load{
				arch: arch, code: codeWith(arch, 1<<k, 1, true, false), lines: 4, threads: 1,
				samples: 300, point: pad(1 << k), holds: .8, hot: .9,
			}
			for name, change := range map[string]func(*load){
				"":                   func(*load) {},
				"with a full window": func(l *load) { l.samples = 2 * Capacity },
				"of two threads":     func(l *load) { l.threads, l.samples = 2, Capacity },
				"of 8 threads":       func(l *load) { l.threads, l.samples = 8, 4*Capacity },
				"of 128 threads":     func(l *load) { l.threads, l.samples = 128, 128*Capacity },
				"that does half of the time something else": func(l *load) { l.hot, l.samples = .5, Capacity },
				"in one line":                  func(l *load) { l.lines = 1 },
				"in 8 lines":                   func(l *load) { l.lines, l.samples = 8, Capacity },
				"whose register is used twice": func(l *load) { l.holds, l.samples = .4, Capacity },
			} {
				t.Run(fmt.Sprintf("architecture %d, 2^%d bytes, %s", arch, k, name), func(t *testing.T) {
					t.Parallel()
					l, runs := l, testutil.Thorough(20)
					change(&l)
					if n := l.count(runs); n[want] < runs-runs/10 {
						t.Errorf("none, observe, kill: %d, of %d", n, runs)
					}
				})
			}
		}
	}
}

func TestMinersAreFoundSoon(t *testing.T) {
	l := load{
		code: codeWith(AMD64, 1<<21, 1, true, false), lines: 2, threads: 1,
		point: pad(1 << 21), holds: .9, hot: .9,
	}
	for samples, want := range map[int]Verdict{
		MinSamples - 1: None, MinSamples: Observe, MinSamplesToKill - 1: Observe, MinSamplesToKill: Kill,
	} {
		l.samples = samples
		if n := l.count(100); n[want] < 97 {
			t.Errorf("%d samples: none, observe, kill: %d", samples, n)
		}
	}
}

// All have the code of a miner, which is the worst case, so only the registers spare them.
func TestSimulatedLegitimateProgramsAreSpared(t *testing.T) {
	const w = 1 << 21
	for name, c := range map[string]struct {
		point func(*rand.Rand, int) uint64
		worst Verdict
	}{
		"arbitrary data":                    {func(r *rand.Rand, _ int) uint64 { return r.Uint64() }, None},
		"a constant":                        {counter(1), None},
		"a loop counter of 2^19":            {counter(1 << 19), None},
		"a loop counter of 2^26":            {counter(1 << 26), None},
		"a heap of 1 GiB":                   {buffer(1<<30, 16), None},
		"a walk through 64 MiB":             {buffer(64<<20, 1), None},
		"a walk through half of the window": {buffer(w/2, 64), None},
		"a walk through 3/4 of the window":  {buffer(w*3/4, 16), None},
		"a table of 16-byte entries, 2^25":  {buffer(1<<25, 16), None},
		"a table of 16-byte entries, 2^20":  {buffer(1<<20, 16), None},
		// These are told from a scratchpad by many samples of a thread in a line only.
		"a table of 100 pages":          {buffer(w, w/100), Kill},
		"a table that is used unevenly": {skewed(w), Kill},
		// A part of these is a window in which there are enough of the samples.
		"a walk through twice the window":   {buffer(2*w, 64), Observe},
		"a walk through 4 times the window": {buffer(4*w, 64), Observe},
		"a walk through 6 times the window": {buffer(6*w, 64), Observe},
		"a table of 16-byte entries, 2^22":  {buffer(1<<22, 16), Observe},
	} {
		for _, arch := range []Arch{AMD64, ARM64} {
			for _, threads := range []int{1, 2, 16} {
				for _, lines := range []int{1, 4} {
					t.Run(fmt.Sprintf("architecture %d, %d threads, %d lines, %s", arch, threads, lines, name), func(t *testing.T) {
						t.Parallel()
						l := load{
							arch: arch, code: codeWith(arch, w, 1, true, false), lines: lines, threads: threads,
							samples: Capacity * threads, point: c.point, holds: 1, hot: 1,
						}
						n, worst := l.count(testutil.Thorough(20)), c.worst
						if worst == Kill && min(threads, MaxThreads)*lines <= 8 {
							worst = None
						}
						if worst < Kill && n[Kill] > 0 || worst < Observe && n[Observe] > 0 {
							t.Errorf("none, observe, kill: %d", n)
						}
					})
				}
			}
		}
	}
}

// A window without the mask, a mask without AES: each alone is not enough for a kill.
func TestNoKillWithoutAllSigns(t *testing.T) {
	const w = 1 << 21
	for _, c := range []struct {
		name     string
		arch     Arch
		code     []byte
		want     Verdict
		unmasked bool
	}{
		{"all", AMD64, codeWith(AMD64, w, 1, true, false), Kill, false},
		{"no mask", AMD64, codeWith(AMD64, 0, 1, true, false), None, true},
		{"no mask, no wide multiplication", AMD64, codeWith(AMD64, 0, 1, false, false), None, false},
		{"no mask, an AES cipher", AMD64, codeWith(AMD64, 0, 10, true, false), None, false},
		{"the mask of another size", AMD64, codeWith(AMD64, 2*w, 1, true, false), None, true},
		{"no AES", AMD64, codeWith(AMD64, w, 0, true, false), Observe, false},
		{"an AES cipher", AMD64, codeWith(AMD64, w, 10, true, false), Observe, false},
		{"no wide multiplication", AMD64, codeWith(AMD64, w, 3, false, false), Kill, false},
		{"nothing", AMD64, codeWith(AMD64, 0, 0, false, false), None, false},
		{"no code", AMD64, nil, None, false},
		{"arm64", ARM64, codeWith(ARM64, w, 1, true, false), Observe, false},
		{"arm64 without a mask", ARM64, codeWith(ARM64, 0, 1, true, false), None, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := load{
				arch: c.arch, code: c.code, lines: 2, threads: 1,
				samples: Capacity, point: pad(w), holds: 1, hot: 1,
			}
			runs := testutil.Thorough(20)
			if n := l.count(runs); n[c.want] < runs-runs/10 {
				t.Errorf("none, observe, kill: %d, want %v", n, c.want)
			}
			unmasked := 0
			for seed := range uint64(runs) {
				if l.run(seed).Unmasked() {
					unmasked++
				}
			}
			if c.unmasked && unmasked < runs-runs/10 || !c.unmasked && unmasked > 0 {
				t.Errorf("unmasked in %d of %d", unmasked, runs)
			}
		})
	}
}

func TestAESOfAnotherFunctionIsNoSign(t *testing.T) {
	code := codeWith(AMD64, 1<<21, 0, true, false)
	aes := []byte{0x66, 0x0f, 0x38, 0xdc, 0xca}
	l := load{
		code: code, lines: 2, threads: 1,
		samples: Capacity, point: pad(1 << 21), holds: 1, hot: 1,
	}
	copy(code[CodeBytes-len(aes):], aes) // two lines after each: beyond both
	if f := l.run(1); f.AES != 0 || f.Verdict() != Observe {
		t.Errorf("%v", f.LogValue())
	}
	copy(code[2*LineBytes:], aes) // a line after each: the second is hot
	if f := l.run(1); f.AES == 0 || f.Verdict() != Kill {
		t.Errorf("%v", f.LogValue())
	}
}

func TestThreadsWithNeighbouringScratchpadsAreToldApart(t *testing.T) {
	l := load{
		code: codeWith(AMD64, 1<<20, 1, false, false), lines: 1, threads: 2,
		samples: Capacity, point: pad(1 << 20), holds: 1, hot: 1,
	}
	if f := l.run(1); f.Walks < .9 || f.Window != 1<<20 {
		t.Errorf("%v", f.LogValue())
	}
	l.threads = 1 // one thread with both
	l.point = func(r *rand.Rand, _ int) uint64 { return pad(1<<20)(r, r.IntN(2)) }
	if f := l.run(1); f.Walks > .6 {
		t.Errorf("one thread: %v", f.LogValue())
	}
}
