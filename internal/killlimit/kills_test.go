package killlimit

import (
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/process"
)

func inside(id uint64) cgroup.Cgroup {
	return cgroup.Cgroup{
		Depth: 2, Levels: []cgroup.Level{{ID: 1, Name: "docker"}, {ID: id, Name: "a"}, {ID: 99, Name: "below"}},
		Container: cgroup.ContainerRef{ID: "a", Level: 1},
	}
}

// made returns the kills by the id of the cgroup.
func made(t *testing.T, k *Limiter) map[uint64]Kills {
	t.Helper()
	all, err := k.Kills()
	if err != nil {
		t.Fatal(err)
	}
	by := make(map[uint64]Kills)
	for _, kills := range all {
		by[kills.Cgroup.ID] = kills
	}
	return by
}

func TestNoKillIsLostOfManyAtOnce(t *testing.T) {
	const each, at = 200, 8
	k := mustLoad(t, Limits{Counted: CountContainers, PerMinute: Max, Cooldown: time.Hour})
	var all sync.WaitGroup
	for i := range at {
		all.Go(func() {
			for j := range each {
				p := process.Event{Cgroup: inside(uint64(2 + j%2)), Who: process.Who{PID: 1 + i*each + j, PPID: os.Getpid()}}
				for range 2 { // a process counts once
					if limited, err := k.Take(1, "a rule", p); err != nil || limited {
						t.Errorf("limited %v, %v", limited, err)
					}
				}
			}
		})
	}
	all.Wait()
	own, err := process.Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	by := made(t, k)
	for _, id := range []uint64{2, 3} {
		// Two that were taken at the same time may have displaced each other among the last ones, and then count twice.
		if n := by[id].Made; n < each*at/2 || n > each*at {
			t.Errorf("%d kills in %d, want %d", n, id, each*at/2)
		}
		if n := by[id].StartedBy(own.Instance()); n != 8 {
			t.Errorf("%d of the last kills are of children of this process", n)
		}
		if name, stopped := k.RuleOf(by[id].Rule); name != "a rule" || stopped {
			t.Errorf("rule %q, stopped %v", name, stopped)
		}
	}
	if n, err := k.Uncounted(); err != nil || n != 0 || len(by) != 2 {
		t.Errorf("%d are not counted, %v; %v", n, err, by)
	}
	if err := k.Forget(cgroup.Key{ID: 2}); err != nil || made(t, k)[2].Made != 0 {
		t.Errorf("they are not forgotten: %v", err)
	}
}

func TestOnlyWhatIsAskedForIsCounted(t *testing.T) {
	session := cgroup.Cgroup{Depth: 4, Levels: []cgroup.Level{{ID: 11}, {ID: 12}, {ID: 13}, {ID: 14}}}
	k := mustLoad(t, Limits{})
	pid := 0
	for _, c := range []struct {
		counted Counted
		victims int
		want    []uint64
	}{
		{CountNone, 0, nil}, {CountContainers, 0, []uint64{2}}, {CountSessions, 0, []uint64{2, 13}},
		{CountSessions, 1, []uint64{2}}, // the second one is not killed
	} {
		if err := k.Apply(Limits{Counted: c.counted, Victims: c.victims, Cooldown: time.Hour}); err != nil {
			t.Fatal(err)
		}
		for _, at := range []cgroup.Cgroup{inside(2), session, {Depth: 1, Levels: []cgroup.Level{{ID: 11}}}} {
			pid++
			if _, err := k.Take(1, "a rule", process.Event{Cgroup: at, Who: process.Who{PID: pid, UID: 1000}}); err != nil {
				t.Fatal(err)
			}
		}
		var got []uint64
		for id := range made(t, k) {
			got = append(got, id)
			if err := k.Forget(cgroup.Key{ID: id}); err != nil {
				t.Fatal(err)
			}
		}
		if slices.Sort(got); !slices.Equal(got, c.want) {
			t.Errorf("counted %d: kills in %v, want %v", c.counted, got, c.want)
		}
	}
}

func TestKillsInTooManyContainersAreNotCounted(t *testing.T) {
	k := mustLoad(t, Limits{Counted: CountContainers})
	most := int(k.objs.MadeKillMap.MaxEntries())
	for i := range most + 3 {
		if _, err := k.Take(1, "a rule", process.Event{Cgroup: inside(uint64(2 + i)), Who: process.Who{PID: 1 + i}}); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := k.Uncounted(); err != nil || n != 3 || len(made(t, k)) != most {
		t.Errorf("%d are not counted, %v; those in %d are", n, err, len(made(t, k)))
	}
}
