package hashwork

import (
	"hash/maphash"
	"sync"

	"github.com/cryptnono/cryptnono/internal/detector/hashwork/words"
	"github.com/cryptnono/cryptnono/internal/procread"
)

// maxKnown bounds the files that are remembered, twice: about 90 bytes each.
const maxKnown = 8192

// A knownKey identifies what was searched, and for whom: a process could map a part of a miner's file
// first, and a container could show a file of its own as that of another.
type knownKey struct {
	owner  uint64 // hash of job.owner
	file   procread.FileID
	ranges uint64 // hash
}

//nolint:gochecknoglobals // random for each run
var knownSeed = maphash.MakeSeed()

func newKnownKey(owner string, file procread.FileID, ranges []procread.Range) knownKey {
	return knownKey{maphash.String(knownSeed, owner), file, hashRanges(ranges)}
}

func hashRanges(ranges []procread.Range) uint64 {
	var h maphash.Hash
	h.SetSeed(knownSeed)
	for _, r := range ranges {
		maphash.WriteComparable(&h, r)
	}
	return h.Sum64()
}

// known remembers the words in files. The zero value is ready. It is safe for concurrent use.
type known struct {
	mu       sync.Mutex
	now, old map[knownKey]words.Counts // old has those that were not asked for recently
}

func (k *known) get(key knownKey) (words.Counts, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, ok := k.now[key]
	if !ok {
		if c, ok = k.old[key]; ok {
			k.add(key, c)
		}
	}
	return c, ok
}

func (k *known) put(key knownKey, c words.Counts) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.add(key, c)
}

func (k *known) add(key knownKey, c words.Counts) {
	if k.now == nil || len(k.now) >= maxKnown {
		k.now, k.old = make(map[knownKey]words.Counts), k.now
	}
	k.now[key] = c
}
