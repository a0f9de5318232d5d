package bytedfa

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"iter"
	"math/bits"
	"slices"
)

// numbers gives keys their numbers, from 0, in the order of their first use. It is a hash
// table with linear probing: with a map, compiling an expression took much longer.
type numbers struct {
	keys  []uint64 // by number
	slots []uint32 // number + 1 by hash, or 0; the length is a power of 2
}

// reset leaves only the number of a key, 0.
func (n *numbers) reset(first uint64) {
	n.keys, n.slots = n.keys[:0], emptied(n.slots, 256)
	n.of(first)
}

func (n *numbers) of(key uint64) uint32 {
	mask := len(n.slots) - 1
	i := hash(key) & mask
	for ; n.slots[i] != 0; i = (i + 1) & mask {
		if number := n.slots[i] - 1; n.keys[number] == key {
			return number
		}
	}
	n.keys = append(n.keys, key)
	n.slots[i] = uint32(len(n.keys))
	if 2*len(n.keys) > len(n.slots) {
		n.slots = emptied(n.slots, 2*len(n.slots))
		place(n.slots, len(n.keys), func(number int) int { return hash(n.keys[number]) })
	}
	return uint32(len(n.keys) - 1)
}

func hash(key uint64) int {
	const factor = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio
	high, low := bits.Mul64(key^factor, factor)
	return int(high ^ low)
}

// emptied returns that many empty slots, in the memory of slots if they fit.
func emptied(slots []uint32, count int) []uint32 {
	slots = slices.Grow(slots[:0], count)[:count]
	clear(slots)
	return slots
}

// place fills the empty slots of a hash table with the first numbers.
func place(slots []uint32, count int, hash func(number int) int) {
	mask := len(slots) - 1
	for number := range count {
		i := hash(number) & mask
		for slots[i] != 0 {
			i = (i + 1) & mask
		}
		slots[i] = uint32(number + 1)
	}
}

// A pool does the same for lists of instructions. These depend on rule files, so the hash has
// a secret.
type pool struct {
	seed  maphash.Seed
	lists []byte // 4 bytes for each instruction
	ends  []int  // by number: the end of the list in lists
	slots []uint32
}

func newPool() *pool { return &pool{seed: maphash.MakeSeed(), slots: make([]uint32, 256)} }

// list returns the instructions of the list with a number.
func (p *pool) list(number uint32) iter.Seq[uint32] { return decode(p.encoded(number)) }

func decode(list []byte) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for ; len(list) > 0 && yield(binary.LittleEndian.Uint32(list)); list = list[4:] {
		}
	}
}

func (p *pool) encoded(number uint32) []byte {
	begin := 0
	if number > 0 {
		begin = p.ends[number-1]
	}
	return p.lists[begin:p.ends[number]]
}

// number returns the number of a list, and whether it is new.
func (p *pool) number(list []byte) (number uint32, isNew bool) {
	mask := len(p.slots) - 1
	i := p.hash(list) & mask
	for ; p.slots[i] != 0; i = (i + 1) & mask {
		if number := p.slots[i] - 1; bytes.Equal(p.encoded(number), list) {
			return number, false
		}
	}
	p.lists = append(p.lists, list...)
	p.ends = append(p.ends, len(p.lists))
	p.slots[i] = uint32(len(p.ends))
	if 2*len(p.ends) > len(p.slots) {
		p.slots = emptied(p.slots, 2*len(p.slots))
		place(p.slots, len(p.ends), func(number int) int { return p.hash(p.encoded(uint32(number))) })
	}
	return uint32(len(p.ends) - 1), true
}

func (p *pool) hash(list []byte) int { return int(maphash.Bytes(p.seed, list)) }
