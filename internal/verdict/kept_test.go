package verdict

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/cryptnono/cryptnono/internal/pin"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// An agent of a build, as far as it counts.
type countingAgent struct {
	*Kept
	dir      *pin.Dir
	counters *ebpf.Map
}

func startCounting(t *testing.T, path, build string) countingAgent {
	t.Helper()
	b, err := btf.NewBuilder([]btf.Type{&btf.Struct{Name: "event"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	types, err := b.Spec()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := pin.Open(t.Context(), path, build, 0)
	if err != nil {
		t.Fatal(err)
	}
	k, err := Keep(dir, 1, KeepOptions{Detector: "test", Object: []byte(build), Types: types, Counters: OwnCounters, Events: "events"})
	if err != nil {
		t.Fatal(err)
	}
	spec := &ebpf.MapSpec{Name: countersMap, Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: uint32(OwnCounters)}
	k.Share(spec)
	m, err := k.NewMap(spec)
	if err == nil {
		err = k.InForce(1, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	return countingAgent{k, dir, m}
}

// count counts kills, and checks how many there are then.
func (a countingAgent) count(t *testing.T, kills, want uint64) {
	t.Helper()
	var now []uint64
	err := a.counters.Lookup(uint32(OutcomeBanned), &now)
	if err == nil {
		now[0] += kills
		err = a.counters.Put(uint32(OutcomeBanned), now)
	}
	c, errRead := a.Counters(a.counters)
	if err := errors.Join(err, errRead); err != nil || c[OutcomeBanned] != want {
		t.Errorf("%d kills, want %d (%v)", c[OutcomeBanned], want, err)
	}
}

// crash ends the agent. What it has pinned stays.
func (a countingAgent) crash(t *testing.T) {
	t.Helper()
	if err := errors.Join(a.counters.Close(), a.Release(), a.dir.Close()); err != nil {
		t.Fatal(err)
	}
}

// removeAllBut removes the pins in a directory, and the directory if none is to be left.
func removeAllBut(t *testing.T, dir, left string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	for _, e := range all {
		if e.Name() != left {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	if left == "" {
		err = errors.Join(err, os.Remove(dir))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// An agent removes the pins of another build and ends before it has stored that. Then the other build begins
// with new counters, and the counts of the old ones are still to be taken over.
func TestCountsOutliveACrashWhilePinsAreRemoved(t *testing.T) {
	for _, left := range []string{"", "counters", "state"} {
		t.Run(fmt.Sprintf("left: %q", left), func(t *testing.T) {
			path := filepath.Join(testutil.MountBPF(t), "pins")
			a := startCounting(t, path, "a")
			a.count(t, 1, 1)
			a.crash(t)
			b := startCounting(t, path, "b")
			b.count(t, 20, 21)
			removeAllBut(t, filepath.Join(path, "test", pin.Build([]byte("a"))), left)
			b.crash(t)
			again := startCounting(t, path, "a")
			again.count(t, 300, 321)
			again.crash(t)
			b = startCounting(t, path, "b")
			b.count(t, 4000, 4321)
			if err := b.Forget(); err != nil {
				t.Fatal(err)
			}
			b.count(t, 0, 4321)
			b.crash(t)
		})
	}
}
