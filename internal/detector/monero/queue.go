package monero

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
)

const (
	// maxWaiting and maxWaitingOfOne bound the jobs in a queue, all and those of one
	// owner.
	maxWaiting      = 1024
	maxWaitingOfOne = 64
)

// A job is a finding to be acted upon. It holds all that is needed, so that the
// suspect may be forgotten meanwhile.
type job struct {
	key      key
	tid      int
	owner    owner
	standing *standing
	decision rounding.Decision
	cgroup   bool // whether the samples are those of its whole cgroup
	policy   *policy
}

// String is the name under which procread.Reader accounts for what is read.
func (o owner) String() string { return fmt.Sprintf("uid %d, cgroup %d", o.uid, o.cgroup) }

// retry lets a suspect be judged again from a monotonic time on.
func (s *standing) retry(at time.Duration) {
	s.again.Store(int64(at))
	s.pending.Store(false)
}

// settle ends the verdict on a suspect.
func (s *standing) settle(r rounding.Rule) {
	s.told.Store(uint32(r))
	s.pending.Store(false)
}

// reopen has a suspect judged as if it had not been.
func (s *standing) reopen() {
	s.again.Store(0)
	s.told.Store(uint32(rounding.None))
}

// A queue holds jobs for workers, and shares these and the room for jobs among the
// owners, who take turns. At most one worker is at work for an owner, and half of them for
// a user, whatever his cgroups, and for a cgroup, whatever its users. It is safe for
// concurrent use.
type queue struct {
	workers int

	mu      sync.Mutex
	changed *sync.Cond
	waiting map[owner][]job
	turns   []owner // of those that wait
	n       int     // jobs that wait
	busy    map[owner]bool
	users   map[uint32]load
	cgroups map[uint64]load
}

// A load is how many jobs wait and are worked on.
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

// take returns the next job, or false when ctx has ended. done follows.
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

// done says that the work on a job has ended.
func (q *queue) done(j job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.busy, j.owner)
	q.count(j.owner, load{busy: -1})
	q.changed.Broadcast()
}

// count adds to the loads of an owner's user and cgroup, and forgets those of nothing.
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
