package fair

import "sync"

// EachOwner calls do for the items of each owner, concurrently for the owners, and waits for the end of all.
// An owner is a Cgroup.Owner, which users cannot choose. With Slots for the work, owners take turns: one that has many
// processes whose reads hang does not have all workers wait for its turn of procread.Reader.
//
// Queue does so too, but has room for only a part of what a scan must judge.
func EachOwner[T any](all []T, ownerOf func(T) string, do func(owner string, its []T)) {
	owners := make(map[string][]T)
	for _, v := range all {
		owner := ownerOf(v)
		owners[owner] = append(owners[owner], v)
	}
	var running sync.WaitGroup
	for owner, its := range owners {
		running.Go(func() { do(owner, its) })
	}
	running.Wait()
}

// Slots are workers. A channel serves those that wait in their order. It is safe for concurrent use.
type Slots chan struct{}

// NewSlots returns n free slots.
func NewSlots(n int) Slots { return make(Slots, n) }

// Do waits for a slot and calls job.
func (s Slots) Do(job func()) {
	s <- struct{}{}
	defer func() { <-s }()
	job()
}
