package execwhacker

import (
	"context"
	"testing"
	"time"
)

func TestEachChangeOfTheCountOfMissedExecsCausesOneScan(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	counts := []uint64{0, 0, 1, 1, 3, 3}
	missed := func() (uint64, error) {
		n := counts[0]
		if len(counts) == 1 {
			cancel()
		} else {
			counts = counts[1:]
		}
		return n, nil
	}
	scans := 0
	if err := watchMissed(ctx, time.Millisecond, missed, func() { scans++ }); err != nil {
		t.Fatal(err)
	}
	if scans != 2 {
		t.Errorf("%d scans", scans)
	}
}
