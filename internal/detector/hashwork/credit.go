package hashwork

import (
	"sync/atomic"
	"time"
)

// A credit bounds what is done to examine the processes of a cgroup. A process that always executes
// new files, or has very many mappings, must not make the agent and the kernel use more CPU time than
// itself: a sample stands for 20 ms of its own, and earns 1 ms for searches, in which 256 KiB are
// searched, and 1 ms for lists of mappings.
type credit struct {
	bytes atomic.Int64
	lists atomic.Int64 // time.Duration
}

const (
	initialCredit, maxCredit = 256 << 20, 1 << 30
	earned                   = 256 << 10 // by a sample
	// identityBytes is what it costs to ask which file is mapped, which takes about as long as to
	// search these.
	identityBytes = 32 << 10

	initialLists, maxLists = 2 * time.Second, 4 * time.Second
	earnedLists            = time.Millisecond // by a sample
)

func newCredit() *credit {
	c := new(credit)
	c.bytes.Store(initialCredit)
	c.lists.Store(int64(initialLists))
	return c
}

func (c *credit) earn() {
	if c.bytes.Load() < maxCredit {
		c.bytes.Add(earned)
	}
	if c.lists.Load() < int64(maxLists) {
		c.lists.Add(int64(earnedLists))
	}
}

// spend takes credit for n bytes, and reports whether there was enough.
func (c *credit) spend(n uint64) bool {
	if c.bytes.Load() < int64(n) {
		return false
	}
	c.bytes.Add(-int64(n))
	return true
}

// list runs a function that lists mappings, and charges for the time that this takes, which is not
// known before. It returns errNoCredit if earlier ones took too long. One that fails is free: a
// process that cannot be read takes no CPU time.
func (c *credit) list(do func() error) error {
	if c.lists.Load() <= 0 {
		return errNoCredit
	}
	began := time.Now()
	err := do()
	if err == nil {
		c.lists.Add(-int64(time.Since(began)))
	}
	return err
}
