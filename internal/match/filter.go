package match

import "math/bits"

// A Filter reports whether a keyword may begin with the last symbols of a stream, the window.
// It has no false negatives. In the root of the automaton it is asked at each symbol, so that
// text without bans is cheap whatever the number of rules.
//
// It rejects most windows because no keyword has two such symbols at that position. The kernel
// program updates these bits with each symbol (Shift-Or: Baeza-Yates, Gonnet, "A New Approach
// to Text Searching", 1992; with pairs: Salmela, Tarhio, Kytöjoki, "Multipattern String Matching
// with q-Grams", 2006). The others are looked up in a blocked Bloom filter (Putze,
// Sanders, Singler, "Cache-, Hash- and Space-Efficient Bloom Filters", 2007): two bits for
// each keyword, both in one word, so that a lookup takes one access to memory.
type Filter struct {
	// Misses has, for each pair, a bit for each of maxPrefix positions at which no keyword has
	// the second symbol after the first. Prefixes end at the last position; before their second
	// symbols, any pair is allowed.
	Misses [1 << pairBits]uint8
	Words  []uint64 // the Bloom filter; the length is a power of 2
	Drop   uint8    // number of the oldest bits of a window that are ignored
}

// FilterWords is the number of words of the largest filter: 512 KiB, which stay in a
// second-level cache.
const FilterWords = 1 << maxFilterLog

const (
	minFilterLog = 6
	maxFilterLog = 16
	// hashFactor is 2^64 divided by the golden ratio (Knuth, "The Art of
	// Computer Programming", volume 3, section 6.4: Fibonacci hashing).
	hashFactor = 0x9e3779b97f4a7c15
)

func buildFilter(keywords []keyword, prefix int) Filter {
	// Half a word for each keyword gives few false positives, and keeps the filter of a
	// few rules in the first-level cache.
	size := min(max(bits.Len(uint(len(keywords)))-1, minFilterLog), maxFilterLog)
	f := Filter{Words: make([]uint64, 1<<size), Drop: uint8(64 - 8*prefix)}
	unused := maxPrefix - prefix
	for i := range f.Misses {
		f.Misses[i] = (1<<maxPrefix - 1) &^ (2<<unused - 1)
	}
	for _, k := range keywords {
		for i := 1; i < prefix; i++ {
			f.Misses[pair(window(k.text[i-1:i+1]))] &^= 1 << (unused + i)
		}
		word, bits := f.bits(window(k.text[:prefix]) << f.Drop)
		f.Words[word] |= bits
	}
	return f
}

// window returns the last 8 of the symbols, the last one in the low byte.
func window(symbols []byte) (w uint64) {
	for _, sym := range symbols {
		w = w<<8 | uint64(sym)
	}
	return w
}

// pairBits are the bits of a pair.
const pairBits = 16 - rotated

// pair returns the last two symbols of a window, the last one without the bits that tell whether it is a
// letter. So the pairs of a command line of 100 bytes are in 31 lines of the cache instead of 52: after an exec
// few of them are there.
func pair(window uint64) uint64 { return window >> rotated & (1<<pairBits - 1) }

// bits returns the index of the word for a shifted window, and its bits in the word.
func (f *Filter) bits(window uint64) (word int, bits uint64) {
	h := window * hashFactor
	bits = 1<<(h>>42&63) | 1<<(h>>36&63)
	return int(h>>48) & (len(f.Words) - 1), bits
}

func (f *Filter) mayContain(window uint64) bool {
	for i := range maxPrefix {
		if f.Misses[pair(window>>(8*(maxPrefix-1-i)))]&(1<<i) != 0 {
			return false
		}
	}
	word, bits := f.bits(window << f.Drop)
	return f.Words[word]&bits == bits
}
