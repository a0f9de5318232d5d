package monero

import (
	"context"
	"log/slog"
	"testing"
	"time"
)

func TestARateIsRaisedAgainAfterTheEndOfItsContext(t *testing.T) {
	s := &sampler{log: slog.New(slog.DiscardHandler)}
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		s.raise(ctx, 0, time.Now().Add(time.Hour))
		if len(s.until) != 1 {
			t.Error("it is not raised")
		}
		cancel()
		s.wait()
		if len(s.until) != 0 {
			t.Errorf("no thread raises it, and it counts as raised: %v", s.until)
		}
	}
}
