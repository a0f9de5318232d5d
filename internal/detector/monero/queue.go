package monero

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
)

const (
	maxWaiting      = 1024 // jobs in a queue
	maxWaitingOfOne = 64   // jobs of one owner
)

// A job is a finding for a worker. It holds all that the worker needs, because the suspect
// may be dropped meanwhile.
type job struct {
	key      key
	tid      int
	owner    owner
	state    *verdictState
	decision rounding.Decision
	cgroup   bool // whether the samples are those of its whole cgroup
	policy   *policy
}

// String returns the name under which procread.Reader accounts for reads.
func (o owner) String() string { return fmt.Sprintf("uid %d, cgroup %d", o.uid, o.cgroup) }

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

// A queue distributes jobs to workers. Owners take turns. At most one worker works for an
// owner, and at most half of the workers for one user or one cgroup. A user or a cgroup has
// at most a quarter of maxWaiting. It is safe for concurrent use.
type queue struct {
	workers int

	mu      sync.Mutex
	changed *sync.Cond
	waiting map[owner][]job
	turns   []owner // owners with waiting jobs
	n       int     // waiting jobs
	busy    map[owner]bool
	users   map[uint32]load
	cgroups map[uint64]load
}

// A load has the numbers of jobs that wait and that workers have.
type load struct{ waiting, busy int }

func newQueue(workers int) *queue {
	q := &queue{
		workers: workers, waiting: make(map[owner][]job), busy: make(map[owner]bool),
		users: make(map[uint32]load), cgroups: make(map[uint64]load),
	}
	q.changed = sync.NewCond(&q.mu)
	return q
}

// put adds a job, and reports whether there was room for it.
func (q *queue) put(j job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	mine := q.waiting[j.owner]
	if q.n >= maxWaiting || len(mine) >= maxWaitingOfOne ||
		max(q.users[j.owner.uid].waiting, q.cgroups[j.owner.cgroup].waiting) >= maxWaiting/4 {
		return false
	}
	if len(mine) == 0 {
		q.turns = append(q.turns, j.owner)
	}
	q.waiting[j.owner] = append(mine, j)
	q.n++
	q.count(j.owner, load{waiting: 1})
	q.changed.Signal()
	return true
}

// take waits for the next job. It returns false when ctx has ended. The caller must call done
// after the job.
func (q *queue) take(ctx context.Context) (job, bool) {
	stop := context.AfterFunc(ctx, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.changed.Broadcast()
	})
	defer stop()
	q.mu.Lock()
	defer q.mu.Unlock()
	for ctx.Err() == nil {
		if j, ok := q.next(); ok {
			return j, true
		}
		q.changed.Wait()
	}
	return job{}, false
}

func (q *queue) next() (job, bool) {
	for i, o := range q.turns {
		if q.busy[o] || max(q.users[o.uid].busy, q.cgroups[o.cgroup].busy) >= max(1, q.workers/2) {
			continue
		}
		q.turns = append(q.turns[:i], q.turns[i+1:]...)
		mine := q.waiting[o]
		if len(mine) == 1 {
			delete(q.waiting, o)
		} else {
			q.waiting[o] = mine[1:]
			q.turns = append(q.turns, o)
		}
		q.n--
		q.busy[o] = true
		q.count(o, load{-1, 1})
		return mine[0], true
	}
	return job{}, false
}

// done frees the worker of a job.
func (q *queue) done(j job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.busy, j.owner)
	q.count(j.owner, load{busy: -1})
	q.changed.Broadcast()
}

// count adds to the loads of an owner's user and cgroup.
func (q *queue) count(o owner, more load) {
	user, cgroup := q.users[o.uid], q.cgroups[o.cgroup]
	user = load{user.waiting + more.waiting, user.busy + more.busy}
	cgroup = load{cgroup.waiting + more.waiting, cgroup.busy + more.busy}
	q.users[o.uid], q.cgroups[o.cgroup] = user, cgroup
	if user == (load{}) {
		delete(q.users, o.uid)
	}
	if cgroup == (load{}) {
		delete(q.cgroups, o.cgroup)
	}
}
