package monero

import (
	"maps"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
)

// feed gives samples of one process, a hundred a second, and returns the
// processes that are found.
func feed(all *suspects, x sample, n int, mode func(i int) uint8, where rounding.Memory) map[int]rounding.Rule {
	found := make(map[int]rounding.Rule)
	for i := range n {
		x.at += 10 * time.Millisecond
		x.used += 10 * time.Millisecond
		x.mode = mode(i)
		for _, f := range all.add(all.find(x), x, where) {
			found[f.key.pid] = max(found[f.key.pid], f.decision.Rule)
		}
	}
	return found
}

func of(pid int) sample {
	return sample{program: key{pid: pid}, thread: uint64(pid), cgroup: 7, at: time.Minute}
}

func up(int) uint8 { return 2 }

func TestAProcessIsFoundByItsOwnSamples(t *testing.T) {
	all := newSuspects(rounding.Defaults())
	if found := feed(all, of(1), 100, up, rounding.AnonymousMemory); found[1] != rounding.JIT {
		t.Errorf("got %v", found)
	}
}

func TestProcessesThatLiveShortAreFoundByTheirCgroup(t *testing.T) {
	all := newSuspects(rounding.Defaults())
	found := make(map[int]rounding.Rule)
	for pid := 1; pid <= 10; pid++ {
		maps.Copy(found, feed(all, of(pid), 20, up, rounding.AnonymousMemory))
	}
	if found[10] != rounding.JIT {
		t.Errorf("got %v", found)
	}
}

func TestAnHonestNeighbourIsNotFoundByItsCgroup(t *testing.T) {
	all := newSuspects(rounding.Defaults())
	// It rounds up in compiled code, as interval arithmetic does.
	if found := feed(all, of(1), 100, up, rounding.FileMemory); len(found) > 0 {
		t.Fatalf("found %v before there was any miner", found)
	}
	miner := of(2)
	miner.at = 2 * time.Minute
	found := feed(all, miner, 1000, up, rounding.AnonymousMemory)
	if found[2] != rounding.JIT || found[1] != rounding.None {
		t.Errorf("got %v", found)
	}
}

func TestWhatIsWatchedIsBounded(t *testing.T) {
	all := newSuspects(rounding.Defaults())
	for pid := range 3 * maxProcesses {
		x := of(pid)
		x.cgroup = uint64(pid)
		x.at += time.Duration(pid) * time.Millisecond
		feed(all, x, 1, up, rounding.FileMemory)
	}
	if len(all.processes) > maxProcesses || len(all.cgroups) > maxCgroups {
		t.Errorf("%d processes and %d cgroups", len(all.processes), len(all.cgroups))
	}
	all.sweep(time.Hour)
	if len(all.processes)+len(all.cgroups) > 0 {
		t.Errorf("%d processes and %d cgroups are left after an hour", len(all.processes), len(all.cgroups))
	}
}

func TestAnotherProgramOfTheSameProcessIsAnotherSuspect(t *testing.T) {
	all := newSuspects(rounding.Defaults())
	before, after := of(1), of(1)
	after.program.exec = 1
	if all.find(before) == all.find(after) {
		t.Error("an exec was not noticed")
	}
}
