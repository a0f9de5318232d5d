package match

import "math/bits"

// A Filter tells whether a window, the last Prefix symbols of a stream, may be
// the beginning of a phrase. It is a Bloom filter with one hash: it never says
// no to a beginning. The walkers ask it at each symbol while idle, so that
// what is no miner's costs one hash and one look-up a symbol, whatever the
// number of rules.
type Filter struct {
	Bits  []byte
	Mask  uint64 // the bits of the window that count
	Shift uint8  // of the 64-bit hash, to the number of a bit
}

// FilterBytes is the size of the largest filter: 512 KiB stay in a processor's
// second-level cache.
const FilterBytes = 1 << maxFilterBits >> 3

const (
	minFilterBits = 12
	maxFilterBits = 22
	// hashFactor is 2^64 divided by the golden ratio (Knuth, "The Art of
	// Computer Programming", volume 3, section 6.4: Fibonacci hashing).
	hashFactor = 0x9e3779b97f4a7c15
)

func buildFilter(phrases []phrase, prefix int) Filter {
	// 64 bits for each phrase: few false alarms, and few rules stay in the
	// first-level cache.
	size := min(max(bits.Len(uint(len(phrases)))+6, minFilterBits), maxFilterBits)
	f := Filter{
		Bits:  make([]byte, 1<<size>>3),
		Mask:  ^uint64(0) >> (64 - 8*prefix),
		Shift: uint8(64 - size),
	}
	for _, p := range phrases {
		var window uint64
		for _, sym := range p.text[:prefix] {
			window = window<<8 | uint64(sym)
		}
		h := f.hash(window)
		f.Bits[h>>3] |= 1 << (h & 7)
	}
	return f
}

func (f *Filter) hash(window uint64) uint64 {
	return (window & f.Mask) * hashFactor >> f.Shift
}

func (f *Filter) has(window uint64) bool {
	h := f.hash(window)
	return f.Bits[h>>3]>>(h&7)&1 != 0
}
