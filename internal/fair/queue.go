package fair

import (
	"context"
	"sync"
)

const (
	maxWaiting      = 1024 // jobs in a queue
	maxWaitingOfOne = 64   // jobs of one owner
)

// A Job is work for an owner.
type Job interface{ Owner() Owner }

// A Queue distributes jobs to workers. Owners take turns. At most one worker works for an
// owner, and at most half of the workers for one user or one cgroup. A user or a cgroup has
// at most a quarter of maxWaiting. It is safe for concurrent use.
type Queue[J Job] struct {
	workers int

	mu      sync.Mutex
	changed *sync.Cond
	waiting map[Owner][]J
	turns   []Owner // owners with waiting jobs
	n       int     // waiting jobs
	busy    map[Owner]bool
	users   map[uint32]load
	cgroups map[uint64]load
}

// A load has the numbers of jobs that wait and that workers have.
type load struct{ waiting, busy int }

// NewQueue returns an empty queue for this number of workers.
func NewQueue[J Job](workers int) *Queue[J] {
	q := &Queue[J]{
		workers: workers, waiting: make(map[Owner][]J), busy: make(map[Owner]bool),
		users: make(map[uint32]load), cgroups: make(map[uint64]load),
	}
	q.changed = sync.NewCond(&q.mu)
	return q
}

// Put adds a job, and reports whether there was room for it.
func (q *Queue[J]) Put(j J) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	o := j.Owner()
	mine := q.waiting[o]
	if q.n >= maxWaiting || len(mine) >= maxWaitingOfOne ||
		max(q.users[o.UID].waiting, q.cgroups[o.Cgroup].waiting) >= maxWaiting/4 {
		return false
	}
	if len(mine) == 0 {
		q.turns = append(q.turns, o)
	}
	q.waiting[o] = append(mine, j)
	q.n++
	q.count(o, load{waiting: 1})
	q.changed.Signal()
	return true
}

// Take waits for the next job. It returns false when ctx has ended. The caller must call Done
// after the job.
func (q *Queue[J]) Take(ctx context.Context) (J, bool) {
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
	var none J
	return none, false
}

func (q *Queue[J]) next() (J, bool) {
	for i, o := range q.turns {
		if q.busy[o] || max(q.users[o.UID].busy, q.cgroups[o.Cgroup].busy) >= max(1, q.workers/2) {
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
	var none J
	return none, false
}

// Done frees the worker of a job.
func (q *Queue[J]) Done(j J) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.busy, j.Owner())
	q.count(j.Owner(), load{busy: -1})
	q.changed.Broadcast()
}

// count adds to the loads of an owner's user and cgroup.
func (q *Queue[J]) count(o Owner, more load) {
	user, cgroup := q.users[o.UID], q.cgroups[o.Cgroup]
	user = load{user.waiting + more.waiting, user.busy + more.busy}
	cgroup = load{cgroup.waiting + more.waiting, cgroup.busy + more.busy}
	q.users[o.UID], q.cgroups[o.Cgroup] = user, cgroup
	if user == (load{}) {
		delete(q.users, o.UID)
	}
	if cgroup == (load{}) {
		delete(q.cgroups, o.Cgroup)
	}
}
