package match

import "math/bits"

// A Filter tells whether a window, the last symbols of a stream, may be the
// beginning of a phrase. It never says no to a beginning. The walkers ask it at
// each symbol while idle, so that what is no miner's costs next to nothing,
// whatever the number of rules.
//
// Most windows are dismissed because no phrase has such a symbol at that place. The
// kernel's walker knows that as it goes, from a bit for each place (Shift-Or: Baeza-Yates,
// Gonnet, "A New Approach to Text Searching", 1992). For the others there
// is a blocked Bloom filter (Putze, Sanders, Singler, "Cache-, Hash- and
// Space-Efficient Bloom Filters", 2007): two bits for each phrase, both in one
// word, so that the answer costs one access to memory.
type Filter struct {
	// Of each symbol the places, among maxPrefix, where a phrase may have it: its
	// first symbols end at the last place, and at those before them any may be.
	Places [256]uint8
	Words  []uint64 // as many as a power of 2
	Drop   uint8    // bits of a window, the oldest, that do not count
}

// FilterWords is the number of words of the largest filter: 512 KiB stay in a
// processor's second-level cache.
const FilterWords = 1 << maxFilterLog

const (
	minFilterLog = 6
	maxFilterLog = 16
	// hashFactor is 2^64 divided by the golden ratio (Knuth, "The Art of
	// Computer Programming", volume 3, section 6.4: Fibonacci hashing).
	hashFactor = 0x9e3779b97f4a7c15
)

func buildFilter(phrases []phrase, prefix int) Filter {
	// Half a word for each phrase: few false alarms, and few rules stay in the
	// first-level cache.
	size := min(max(bits.Len(uint(len(phrases)))-1, minFilterLog), maxFilterLog)
	f := Filter{Words: make([]uint64, 1<<size), Drop: uint8(64 - 8*prefix)}
	free := maxPrefix - prefix
	for sym := range f.Places {
		f.Places[sym] = 1<<free - 1
	}
	for _, p := range phrases {
		for i, sym := range p.text[:prefix] {
			f.Places[sym] |= 1 << (free + i)
		}
		word, bits := f.place(window(p.text[:prefix]) << f.Drop)
		f.Words[word] |= bits
	}
	return f
}

// window returns the window after some symbols, of which the last 8 count.
func window(symbols []byte) (w uint64) {
	for _, sym := range symbols {
		w = w<<8 | uint64(sym)
	}
	return w
}

// place returns the word of a window, and its bits there.
func (f *Filter) place(window uint64) (word int, bits uint64) {
	h := window * hashFactor
	bits = 1<<(h>>42&63) | 1<<(h>>36&63)
	return int(h>>48) & (len(f.Words) - 1), bits
}

func (f *Filter) has(window uint64) bool {
	for place := range maxPrefix {
		if f.Places[byte(window>>(8*(maxPrefix-1-place)))]&(1<<place) == 0 {
			return false
		}
	}
	word, bits := f.place(window << f.Drop)
	return f.Words[word]&bits == bits
}
