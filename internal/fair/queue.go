package fair

import (
	"context"
	"sync"
)

const (
	maxWaiting      = 1024 // jobs in a queue, and as many of owners that have no other
	maxWaitingOfOne = 64   // jobs of one owner
)

// A Job is work for an owner: a Cgroup.Owner, which users cannot choose.
type Job interface{ Owner() string }

// A Queue distributes jobs to workers. Owners take turns, and at most one worker works for an
// owner. It is safe for concurrent use.
type Queue[J Job] struct {
	mu      sync.Mutex
	changed *sync.Cond
	waiting map[string][]J
	turns   []string // owners with waiting jobs
	n       int      // waiting jobs
	busy    map[string]bool
}

// NewQueue returns an empty queue.
func NewQueue[J Job]() *Queue[J] {
	q := &Queue[J]{waiting: make(map[string][]J), busy: make(map[string]bool)}
	q.changed = sync.NewCond(&q.mu)
	return q
}

// Put adds a job, and reports whether there was room for it.
func (q *Queue[J]) Put(j J) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	o := j.Owner()
	mine := q.waiting[o]
	if q.n >= maxWaiting && len(mine) > 0 || q.n >= 2*maxWaiting || len(mine) >= maxWaitingOfOne {
		return false
	}
	if len(mine) == 0 {
		q.turns = append(q.turns, o)
	}
	q.waiting[o] = append(mine, j)
	q.n++
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
		if q.busy[o] {
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
	q.changed.Broadcast()
}
