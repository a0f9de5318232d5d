package evidence

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestAnOwnerWithSlowFilesLeavesRoomForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(nil, nil, Default())
		ctx, cancel := context.WithTimeout(t.Context(), gatherTime)
		defer cancel()
		var slow sync.WaitGroup
		read := 0
		for range 3 { // more than maxReads
			slow.Go(func() {
				if leave, ok := c.enter(ctx, "slow"); ok {
					time.Sleep(time.Second)
					read++
					leave()
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		for range 5 {
			leave, ok := c.enter(ctx, "other")
			if !ok {
				t.Fatal("an owner has no turn")
			}
			leave()
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("others wait for %v", took)
		}
		slow.Wait()
		if took := time.Since(began); took != 2*time.Second || read != 2 || len(c.reading) != 0 || len(c.reads) != 0 {
			t.Errorf("after %v, %d reads, left %v and %d", took, read, c.reading, len(c.reads))
		}
	})
}
