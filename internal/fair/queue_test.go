package fair

import (
	"context"
	"testing"
	"time"
)

type job struct {
	pid int
	of  Owner
}

func (j job) Owner() Owner { return j.of }

func jobOf(uid uint32, cgroup uint64, pid int) job { return job{pid, Owner{uid, cgroup}} }

// takeAll takes all jobs that can be taken now and returns their pids.
func takeAll(t *testing.T, q *Queue[job]) (pids []int) {
	t.Helper()
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		j, ok := q.next()
		if !ok {
			return pids
		}
		pids = append(pids, j.pid)
	}
}

func TestAnOwnerHasOneWorkerAndAUserHalfOfThem(t *testing.T) {
	q := NewQueue[job](4)
	for cgroup := range uint64(3) {
		for i := range 3 {
			q.Put(jobOf(1000, cgroup, int(cgroup)*10+i))
		}
	}
	q.Put(jobOf(0, 9, 90))
	if got := takeAll(t, q); len(got) != 3 || got[0] != 0 || got[1] != 10 || got[2] != 90 {
		t.Errorf("taken at once: %v", got)
	}
	q.Done(jobOf(1000, 0, 0))
	if got := takeAll(t, q); len(got) != 1 || got[0] != 20 {
		t.Errorf("taken next: %v, not of the owner whose turn it is", got)
	}
}

func TestAFloodOfJobsLeavesRoomForOthers(t *testing.T) {
	for name, flood := range map[string]func(i int) job{
		"by one owner":                     func(i int) job { return jobOf(1000, 1, i) },
		"by a user in many cgroups":        func(i int) job { return jobOf(1000, uint64(i), i) },
		"by many users in a single cgroup": func(i int) job { return jobOf(uint32(1000+i), 1, i) },
	} {
		t.Run(name, func(t *testing.T) {
			q := NewQueue[job](4)
			for i := range 10 * maxWaiting {
				q.Put(flood(i))
			}
			if q.n > maxWaiting/2 {
				t.Errorf("%d jobs wait", q.n)
			}
			if !q.Put(jobOf(1, 1<<40, -1)) {
				t.Fatal("no room")
			}
			if got := takeAll(t, q); len(got) > 3 || got[len(got)-1] != -1 {
				t.Errorf("taken at once: %v", got)
			}
		})
	}
}

func TestAWorkerEndsWithItsContext(t *testing.T) {
	q := NewQueue[job](1)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan bool)
	go func() {
		_, ok := q.Take(ctx)
		ended <- ok
	}()
	cancel()
	select {
	case ok := <-ended:
		if ok {
			t.Error("it took a job from an empty queue")
		}
	case <-time.After(10 * time.Second):
		t.Error("it still waits")
	}
}

func TestAJobThatComesLaterIsTaken(t *testing.T) {
	q := NewQueue[job](1)
	taken := make(chan int)
	go func() {
		j, _ := q.Take(t.Context())
		taken <- j.pid
	}()
	q.Put(jobOf(1, 1, 7))
	if pid := <-taken; pid != 7 {
		t.Errorf("took %d", pid)
	}
}
