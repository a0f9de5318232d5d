package monero

import (
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
	"github.com/cryptnono/cryptnono/internal/process"
)

// A job is a finding for a worker. It holds all that the worker needs, because the suspect
// may be dropped meanwhile.
type job struct {
	key      process.Execution
	tid      int
	uid      uint32
	owner    string // whose limits are used: Cgroup.Owner
	state    *verdictState
	decision rounding.Decision
	cgroup   bool // whether the samples are those of its whole cgroup
	policy   *policy
}

// Owner implements fair.Job.
func (j job) Owner() string { return j.owner }

// retry ends a verdict without a result. The suspect can be queued again from the monotonic
// time at on.
func (s *verdictState) retry(at time.Duration) {
	s.retryAt.Store(int64(at))
	s.pending.Store(false)
}

// settle ends a verdict by rule r. Only a stronger rule queues the suspect again.
func (s *verdictState) settle(r rounding.Rule) {
	s.reported.Store(uint32(r))
	s.pending.Store(false)
}

// reopen makes a suspect eligible again, as if there had been no verdict.
func (s *verdictState) reopen() {
	s.retryAt.Store(0)
	s.reported.Store(uint32(rounding.None))
}
