package agent

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestBPFFileSystemsAreWalkedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		r := rarely{look: func() int { looks++; return looks }}
		for scrape, want := range []int{1, 1, 1, 1, 2, 2, 2, 2, 3} {
			if n := r.value(); n != want {
				t.Errorf("scrape %d: %d, want %d", scrape, n, want)
			}
			time.Sleep(15 * time.Second)
		}
	})
}
