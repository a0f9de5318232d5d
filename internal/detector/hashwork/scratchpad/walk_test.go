package scratchpad

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// naiveDensest counts for each value those that are at most size+64 above it, around 0.
func naiveDensest(values []uint32, size uint32) (most int) {
	for _, from := range values {
		n := 0
		for _, x := range values {
			if x-from <= size+64 {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

func checkDensest(t *testing.T, values []uint32, size uint32) {
	t.Helper()
	c := newCircle(slices.Clone(values))
	s := c.densest(size)
	if want := naiveDensest(values, size); s.count() != want {
		t.Fatalf("%d of %d values in a window of %d, want %d: %v", s.count(), len(values), size, want, values)
	}
	if s.count() > 0 && c[s.to-1]-c[s.from] > size+64 {
		t.Fatalf("span of %d bytes for a window of %d", c[s.to-1]-c[s.from], size)
	}
	if got, _ := c.walk(size); got != 0 && got != s.count() || got == 0 && c.even(s, size) {
		t.Fatalf("%d values walk, and %d are in the window", got, s.count())
	}
}

func FuzzDensest(f *testing.F) {
	f.Add([]byte{}, uint8(0))
	f.Add([]byte("\x00\x00\x00\x00\xff\xff\xff\xff\x00\x01\x00\x00\x00\xf0\xff\xff"), uint8(3))
	f.Add(make([]byte, 400), uint8(5))
	f.Fuzz(func(t *testing.T, data []byte, k uint8) {
		var values []uint32
		for ; len(data) >= 4 && len(values) < Capacity; data = data[4:] {
			values = append(values, binary.LittleEndian.Uint32(data))
		}
		size := uint32(1) << (smallest + k%(largest-smallest+1))
		checkDensest(t, values, size)
		newCircle(values).walkBySteps()
	})
}

// Arbitrary values are rarely as near to each other as these, also around 0.
func TestDensestWindowIsThatOfANaiveSearch(t *testing.T) {
	for seed := range uint64(testutil.Thorough(2000)) {
		r := rand.New(rand.NewPCG(seed, 1))
		size := uint32(1) << (smallest + r.IntN(largest-smallest+1))
		var values []uint32
		for range r.IntN(4) {
			base, width := r.Uint32(), 1+r.Uint32N(3*size)
			if r.IntN(3) == 0 {
				base = -r.Uint32N(width)
			}
			for range r.IntN(60) {
				values = append(values, base+r.Uint32N(width)&^15)
			}
			values = append(values, base, base+size+63+r.Uint32N(4))
		}
		checkDensest(t, values, size)
	}
}

func TestWalkIsAllOverAWindow(t *testing.T) {
	const size, n = 1 << 21, 200
	every := func(step uint32) (values []uint32) { // n values
		for i := range uint32(n) {
			values = append(values, 0x7f000000+i*step)
		}
		return values
	}
	even := every(size / n &^ 15)
	for name, c := range map[string]struct {
		values []uint32
		want   int
	}{
		"none":                         {nil, 0},
		"even":                         {even, n},
		"around 0":                     {shift(even, -0x7f000000-size/2), n},
		"with others elsewhere":        {append(slices.Repeat([]uint32{8, math.MaxUint32 / 4, 0x6f000000}, 199), even...), n},
		"with too many others":         {append(slices.Repeat([]uint32{8, math.MaxUint32 / 4, 0x6f000000}, 201), even...), 0},
		"with others at many places":   {append(slices.Repeat([]uint32{8, 1 << 28, 2 << 28, 3 << 28, 4 << 28}, 199), even...), 0},
		"in half of the window":        {every(size / n / 2), 0},
		"in nine tenths of the window": {every(size / n * 9 / 10), 0},
		"twice at each place":          {append(even[:n/2:n/2], even[:n/2]...), 0},
		"each place twice":             {slices.Concat(even, even), 0},
		"too few":                      {even[:15], 0},
		"more at the start":            {slices.Concat(even, shift(even[:n/4], 4096)), 0},
		"a third without a value":      {append(even[:n/3:n/3], even[2*n/3:]...), 0},
		"all over a window of 64 MiB":  {every(64 << 20 / n &^ 15), 0},
		"neighbours above":             {append(even, shift(even, size)...), n},
		"neighbours below":             {append(even[1:], shift(even, -size)...), n},
	} {
		got, alone := newCircle(slices.Clone(c.values)).walk(size)
		if got < c.want-2 || got > c.want+2 {
			t.Errorf("%s: %d values, want %d", name, got, c.want)
		}
		if want := c.want > 0 && !strings.Contains(name, "neighbours"); alone != want {
			t.Errorf("%s: alone %v, want %v", name, alone, want)
		}
	}
}

// The fewer the values, the more room chance leaves at both ends.
func TestFewValuesWalkToo(t *testing.T) {
	for _, n := range []int{minWalk, 24, 48, 200} {
		found, runs := 0, 2000
		for seed := range uint64(runs) {
			r := rand.New(rand.NewPCG(seed, 3))
			var values []uint32
			for range n {
				values = append(values, 0x7f000000+r.Uint32N(1<<21)&^15)
			}
			if got, _ := newCircle(values).walk(1 << 21); got > 0 {
				found++
			}
		}
		t.Logf("%d values: %d of %d", n, found, runs)
		if found < runs*98/100 {
			t.Errorf("%d values: found in %d of %d cases", n, found, runs)
		}
	}
}

func shift(values []uint32, by int64) (shifted []uint32) {
	for _, x := range values {
		shifted = append(shifted, x+uint32(by))
	}
	return shifted
}

func TestWalkByStepsIsOfASeparateWindow(t *testing.T) {
	seeds := testutil.Thorough(200)
	found := make(map[string]int)
	for seed := range uint64(seeds) {
		r := rand.New(rand.NewPCG(seed, 2))
		draw := func(size, step uint32) (values []uint32) {
			for range 200 {
				values = append(values, 0x7f000000+r.Uint32N(size)/step*step)
			}
			return values
		}
		for name, values := range map[string][]uint32{
			"2^17 bytes":     draw(1<<17, 16),
			"2^21 bytes":     draw(1<<21, 16),
			"2^22 bytes":     draw(1<<22, 16),
			"steps of 32":    draw(1<<21, 32),
			"steps of 8":     draw(1<<21, 8),
			"steps of 1":     draw(1<<21, 1),
			"2^23 bytes":     draw(1<<23, 16),
			"2^24 bytes":     draw(1<<24, 16),
			"2^16 bytes":     draw(1<<16, 16),
			"3/4 of 2^21":    draw(3<<19, 16),
			"3/2 of 2^21":    draw(3<<20, 16),
			"two neighbours": append(draw(1<<22, 16), shift(draw(1<<22, 16), 1<<22)...),
			"one and a half": append(draw(1<<22, 16), shift(draw(1<<22, 16)[:100], 1<<22)...),
		} {
			n := newCircle(values).walkBySteps()
			if n > 0 {
				found[name]++
			}
		}
	}
	for _, name := range []string{"2^17 bytes", "2^21 bytes", "2^22 bytes"} {
		if found[name] < seeds-1-seeds/50 {
			t.Errorf("%s: found in %d of %d cases", name, found[name], seeds)
		}
		delete(found, name)
	}
	if len(found) > 0 {
		t.Errorf("found others: %v", found)
	}
}
