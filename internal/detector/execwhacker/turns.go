package execwhacker

import "sync"

const (
	// maxJudges is the number of groups that a scan judges concurrently, each of another owner.
	maxJudges = 8
	// maxBatches is the number of batches that are read concurrently. A batch that hangs is given
	// up after 20 ms: see procread.Reader.ReadMany.
	maxBatches = 2
)

// turns shares the workers of a scan among owners: a Cgroup.Owner, which users cannot choose. An owner has
// one job at a time, as it has one read at a time, and owners take turns. Otherwise one that has many
// processes whose reads hang would have all workers wait for its turn of procread.Reader.
//
// fair.Queue does so too, but has room for only a part of what a scan must judge.
type turns struct {
	judges, batches slots
}

func newTurns() *turns {
	return &turns{judges: make(slots, maxJudges), batches: make(slots, maxBatches)}
}

// slots are the workers for one kind of job. A channel serves those that wait in their order.
type slots chan struct{}

func (s slots) do(job func()) {
	s <- struct{}{}
	defer func() { <-s }()
	job()
}

// each calls do for the groups of each owner, concurrently for the owners, and waits for the end of all.
// An owner is that of the first process of a group.
func (t *turns) each(all []group, do func(owner string, groups []group)) {
	owners := make(map[string][]group)
	for _, g := range all {
		owner := g[0].Cgroup.Owner
		owners[owner] = append(owners[owner], g)
	}
	var running sync.WaitGroup
	for owner, groups := range owners {
		running.Go(func() { do(owner, groups) })
	}
	running.Wait()
}
