package hashwork

import (
	"testing"
	"time"
)

func TestAnOwnerMayWaitAgainAfterAWhile(t *testing.T) {
	var w waits
	now := time.Minute
	for range maxWaits {
		if !w.take("/a", now) {
			t.Error("it may not wait")
		}
	}
	if w.take("/a", now+waitsExpire) || !w.take("/b", now) {
		t.Error("owners are confused")
	}
	if !w.take("/a", now+waitsExpire+1) || len(w.owners) != 1 {
		t.Errorf("got %+v", w.owners)
	}
}
