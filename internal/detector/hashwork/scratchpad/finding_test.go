package scratchpad

import (
	"math"
	"testing"
)

func TestThresholds(t *testing.T) {
	for name, c := range map[string]struct {
		f    Finding
		want Verdict
	}{
		"nothing":                           {Finding{}, None},
		"no samples of a process that ends": {Finding{Walks: 1, Alone: 1, AES: 1}, None},
		"too few samples":                   {Finding{Samples: 95, Walks: 1, Alone: 1, AES: 1}, None},
		"enough to observe":                 {Finding{Samples: 96, Walks: .25, Alone: .25, AES: 1}, Observe},
		"too few to kill":                   {Finding{Samples: 255, Walks: 1, Alone: 1, AES: 1}, Observe},
		"enough to kill":                    {Finding{Samples: 256, Walks: .25, Alone: .25, AES: .01}, Kill},
		"no AES":                            {Finding{Samples: 512, Walks: 1, Alone: 1, AES: .0099}, Observe},
		"parts of a larger buffer":          {Finding{Samples: 512, Walks: 1, Alone: .2499, AES: 1}, Observe},
		"AES without walks":                 {Finding{Samples: 512, Walks: .2499, Alone: .2499, AES: 1, Masked: 1}, None},
		"arm64":                             {Finding{Samples: 512, Walks: 1, Alone: 1, AES: 1, Arch: ARM64}, Observe},
		"rules C2 and K alone":              {Finding{Samples: 512, EvenWalks: 1, Multiplies: 1}, None},
	} {
		if got := c.f.Verdict(); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	for _, c := range []struct {
		f                    Finding
		faults               float64
		unmasked, memoryHard bool
	}{
		{Finding{Samples: 96, EvenWalks: .25, Multiplies: .6}, 4999, true, true},
		{Finding{Samples: 95, EvenWalks: .25, Multiplies: .6}, 4999, false, false},
		{Finding{Samples: 96, EvenWalks: .2499, Multiplies: .5999}, 0, false, false},
		{Finding{Samples: 96, Multiplies: .6}, 5000, false, false},
		{Finding{Samples: 96, Argon2: .25}, 4999, false, true},
		{Finding{Samples: 96, Argon2: .2499}, 0, false, false},
		{Finding{Samples: 95, Argon2: 1}, 0, false, false},
		{Finding{Samples: 512, Argon2: 1}, math.Inf(1), false, false},
	} {
		if c.f.Unmasked() != c.unmasked || c.f.MemoryHard(c.faults) != c.memoryHard {
			t.Errorf("%+v: unmasked %v, memory-hard %v", c.f, c.f.Unmasked(), c.f.MemoryHard(c.faults))
		}
	}
}
