package execwhacker

import "github.com/cryptnono/cryptnono/internal/fair"

const (
	// maxJudges is the number of groups that a scan judges concurrently, each of another owner.
	maxJudges = 8
	// maxBatches is the number of batches that are read concurrently. A batch that hangs is given
	// up after 20 ms: see procread.Reader.ReadMany.
	maxBatches = 2
)

// turns shares the workers of a scan among owners. An owner has one job at a time, as it has one read at a
// time.
type turns struct {
	judges, batches fair.Slots
}

func newTurns() *turns {
	return &turns{judges: fair.NewSlots(maxJudges), batches: fair.NewSlots(maxBatches)}
}

// each calls do for the groups of each owner, that of the first process of a group.
func (t *turns) each(all []group, do func(owner string, groups []group)) {
	fair.EachOwner(all, func(g group) string { return g[0].Cgroup.Owner }, do)
}
