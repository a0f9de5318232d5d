package fair

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"
)

type job struct {
	pid int
	of  string
}

func (j job) Owner() string { return j.of }

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

func TestAnOwnerHasOneWorkerAndWaitsForItsTurn(t *testing.T) {
	q := NewQueue[job]()
	for i, owner := range []string{"a", "b", "c"} {
		for n := range 3 {
			q.Put(job{10*i + n, owner})
		}
	}
	if got := takeAll(t, q); !slices.Equal(got, []int{0, 10, 20}) {
		t.Errorf("taken at once: %v", got)
	}
	q.Put(job{90, "d"})
	q.Done(job{0, "a"})
	if got := takeAll(t, q); !slices.Equal(got, []int{1, 90}) {
		t.Errorf("taken next: %v", got)
	}
}

func TestAFloodOfJobsLeavesRoomForOthers(t *testing.T) {
	for name, owners := range map[string]int{"by one owner": 1, "by many owners": 100} {
		t.Run(name, func(t *testing.T) {
			q := NewQueue[job]()
			for i := range 10 * maxWaiting {
				q.Put(job{i, fmt.Sprint(i % owners)})
			}
			if q.n > min(maxWaiting, owners*maxWaitingOfOne) {
				t.Errorf("%d jobs wait", q.n)
			}
			if !q.Put(job{-1, "other"}) {
				t.Fatal("no room")
			}
			if got := takeAll(t, q); len(got) != owners+1 || got[owners] != -1 {
				t.Errorf("taken at once: %v", got)
			}
		})
	}
	q := NewQueue[job]()
	for i := range 10 * maxWaiting {
		q.Put(job{i, fmt.Sprint(i)})
	}
	if q.n != 2*maxWaiting {
		t.Errorf("%d jobs of as many owners wait", q.n)
	}
}

func TestAWorkerEndsWithItsContext(t *testing.T) {
	q := NewQueue[job]()
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
	q := NewQueue[job]()
	taken := make(chan int)
	go func() {
		j, _ := q.Take(t.Context())
		taken <- j.pid
	}()
	q.Put(job{7, "a"})
	if pid := <-taken; pid != 7 {
		t.Errorf("took %d", pid)
	}
}
