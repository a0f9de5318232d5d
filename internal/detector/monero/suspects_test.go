package monero

import (
	"maps"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
	"github.com/cryptnono/cryptnono/internal/fair"
	"github.com/cryptnono/cryptnono/internal/process"
)

// feed adds n samples of a process, a hundred a second, and returns the strongest rule for
// each process with a finding.
func feed(all *suspects, x sample, n int, mode func(i int) uint8, where bpfCode) map[int]rounding.Rule {
	found := make(map[int]rounding.Rule)
	for i := range n {
		x.at += 10 * time.Millisecond
		x.used += 10 * time.Millisecond
		x.mode = mode(i)
		x.code = where
		for _, f := range all.add(all.find(x), x) {
			found[f.key.PID] = max(found[f.key.PID], f.decision.Rule)
		}
	}
	return found
}

func of(pid int) sample {
	return sample{program: process.Execution{PID: pid}, thread: uint64(pid), owner: fair.Owner{UID: 1000, Cgroup: 7}, at: time.Minute}
}

func up(int) uint8 { return 2 }

func TestAProcessIsFoundByItsOwnSamples(t *testing.T) {
	all := newSuspects(rounding.Defaults())
	if found := feed(all, of(1), 100, up, bpfCodeJIT_CODE); found[1] != rounding.JIT {
		t.Errorf("got %v", found)
	}
}

func TestProcessesThatLiveShortAreFoundByTheirCgroup(t *testing.T) {
	all := newSuspects(rounding.Defaults())
	found := make(map[int]rounding.Rule)
	for pid := 1; pid <= 10; pid++ {
		maps.Copy(found, feed(all, of(pid), 20, up, bpfCodeJIT_CODE))
	}
	if found[10] != rounding.JIT {
		t.Errorf("got %v", found)
	}
}

func TestALegitimateNeighbourIsNotFoundByItsCgroup(t *testing.T) {
	all := newSuspects(rounding.Defaults())
	// It rounds up in the code of a file, as interval arithmetic does.
	if found := feed(all, of(1), 100, up, bpfCodeFILE_CODE); len(found) > 0 {
		t.Fatalf("found %v before there was any miner", found)
	}
	miner := of(2)
	miner.at = 2 * time.Minute
	found := feed(all, miner, 1000, up, bpfCodeJIT_CODE)
	if found[2] != rounding.JIT || found[1] != rounding.None {
		t.Errorf("got %v", found)
	}
}

func TestTheNumberOfSuspectsIsBounded(t *testing.T) {
	all := newSuspects(rounding.Defaults())
	for pid := range 3 * processBounds.Entries {
		x := of(pid)
		x.owner.Cgroup = uint64(pid)
		x.at += time.Duration(pid) * time.Millisecond
		feed(all, x, 1, up, bpfCodeFILE_CODE)
	}
	if n := all.processes.Len(); n > processBounds.Entries {
		t.Errorf("%d processes", n)
	}
	if n := all.cgroups.Len(); n > cgroupBounds.Entries {
		t.Errorf("%d cgroups", n)
	}
	all.sweep(time.Hour)
	if all.processes.Len()+all.cgroups.Len() > 0 {
		t.Errorf("%d processes and %d cgroups are left after an hour", all.processes.Len(), all.cgroups.Len())
	}
}

// Each tracked thread takes memory, and a process can have any number of threads.
func TestTheNumberOfTrackedThreadsIsBounded(t *testing.T) {
	all := newSuspects(rounding.Defaults())
	for pid := range 64 {
		for thread := range 600 {
			x := of(pid)
			x.owner.Cgroup = uint64(pid)
			x.thread = uint64(pid*1000 + thread)
			feed(all, x, 1, up, bpfCodeFILE_CODE)
		}
	}
	for name, r := range map[string]struct{ counted, actual, limit int }{
		"processes": {all.processes.Weight(), threads(all.processes), processBounds.Weight},
		"cgroups":   {all.cgroups.Weight(), threads(all.cgroups), cgroupBounds.Weight},
	} {
		if r.counted != r.actual || r.actual > r.limit+rounding.Defaults().MaxThreads {
			t.Errorf("%s: %d threads are tracked, counted as %d", name, r.actual, r.counted)
		}
	}
}

func threads[K comparable, V fair.Entry](r fair.Roster[K, V]) (n int) {
	for _, v := range r.All() {
		n += v.Weight()
	}
	return n
}

// The entries of the user or cgroup that has the most are evicted.
func TestAMinerIsFoundBesideAFloodOfSuspects(t *testing.T) {
	suspects := 2 * processBounds.Weight
	if testing.Short() {
		suspects = processBounds.Weight * 5 / 4
	}
	for name, flood := range map[string]func(i int, x *sample){
		"processes of one cgroup":   func(_ int, x *sample) { x.owner.Cgroup = 8 },
		"a cgroup for each process": func(i int, x *sample) { x.owner = fair.Owner{UID: 1001, Cgroup: uint64(1000 + i)} },
		"a user for each process":   func(i int, x *sample) { x.owner = fair.Owner{UID: uint32(2000 + i), Cgroup: 8} },
		"threads of one process": func(i int, x *sample) {
			x.program.PID = 1 << 20
			x.owner.Cgroup = 8
			x.thread = uint64(1<<32 + i)
		},
	} {
		t.Run(name, func(t *testing.T) {
			all := newSuspects(rounding.Defaults())
			for i := range suspects {
				x := of(1<<21 + i)
				flood(i, &x)
				feed(all, x, 1, up, bpfCodeFILE_CODE)
			}
			miner := of(1)
			for i := range 100 {
				miner.at += 10 * time.Millisecond
				miner.used += 10 * time.Millisecond
				miner.mode, miner.code = 2, bpfCodeJIT_CODE
				for _, f := range all.add(all.find(miner), miner) {
					if f.key.PID == 1 && f.decision.Rule == rounding.JIT {
						return
					}
				}
				for j := range 20 {
					x := of(1<<22 + 20*i + j)
					flood(1<<20+20*i+j, &x)
					x.at = miner.at
					feed(all, x, 1, up, bpfCodeFILE_CODE)
				}
			}
			t.Error("it was not found")
		})
	}
}

func TestAnotherProgramOfTheSameProcessIsAnotherSuspect(t *testing.T) {
	all := newSuspects(rounding.Defaults())
	before, after := of(1), of(1)
	after.program.Exec = 1
	if all.find(before) == all.find(after) {
		t.Error("an exec was not noticed")
	}
}
