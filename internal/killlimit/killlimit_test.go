package killlimit

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestMain(m *testing.M) { os.Exit(testutil.RunWithoutLeaks(m)) }

func mustLoad(t *testing.T, l Limits) *Limiter {
	t.Helper()
	testutil.Privileged(t)
	k, err := Load(l, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

func TestKillsBeyondALimitAreForbidden(t *testing.T) {
	k := mustLoad(t, Limits{PerMinute: 5, PerContainer: 2, Cooldown: time.Hour})
	one := cgroup.Cgroup{Depth: 1, Levels: []cgroup.Level{{ID: 1, Name: "one"}}}
	two := cgroup.Cgroup{Depth: 1, Levels: []cgroup.Level{{ID: 2, Name: "two"}}}
	three := cgroup.Cgroup{Depth: 1, Levels: []cgroup.Level{{ID: 3, Name: "three"}}}
	for i, c := range []struct {
		cgroup  cgroup.Cgroup
		limited bool
	}{
		{one, false}, {one, false}, {one, true}, {one, true}, // its own limit
		{two, false}, {two, false}, {three, false}, {three, true}, // the sixth of the node
	} {
		limited, err := k.Take(1, "a rule", process.Event{Cgroup: c.cgroup})
		if err != nil || limited != c.limited {
			t.Errorf("kill %d: limited %v, %v, want %v", i, limited, err, c.limited)
		}
	}
	if now, err := k.reached(); err != nil || now != (reached{node: 1, containers: 1}) {
		t.Errorf("got %+v, %v", now, err)
	}
	if err := k.Reset(); err != nil {
		t.Fatal(err)
	}
	if now, err := k.reached(); err != nil || now != (reached{}) {
		t.Errorf("after a reset: %+v, %v", now, err)
	}
	if limited, err := k.Take(1, "a rule", process.Event{Cgroup: two}); err != nil || limited {
		t.Errorf("a kill after a reset: limited %v, %v", limited, err)
	}
}

func TestALimitIsResetAfterTheCooldown(t *testing.T) {
	const cooldown = 3 * time.Second // shorter than the settings allow
	k := mustLoad(t, Limits{PerMinute: 1, Cooldown: cooldown})
	take := func() bool {
		t.Helper()
		limited, err := k.Take(1, "a rule", process.Event{})
		if err != nil {
			t.Fatal(err)
		}
		return limited
	}
	if take() || !take() || !take() {
		t.Error("the limit does not hold")
	}
	time.Sleep(cooldown + cooldown/4)
	if now, err := k.reached(); err != nil || now != (reached{}) {
		t.Errorf("after the cooldown: %+v, %v", now, err)
	}
	if take() || !take() {
		t.Error("the limit does not hold after the cooldown")
	}
}
