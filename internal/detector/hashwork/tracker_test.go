package hashwork

import (
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/fair"
	"github.com/cryptnono/cryptnono/internal/process"
)

const testInterval = 96

// feed adds n samples of a program, fifty a second, and returns the jobs, which end at once. Samples
// are read from the kernel 25 at a time.
func feed(t *tracker, x *sample, n int) (jobs []job) {
	for range n {
		x.at += 20 * time.Millisecond
		if j, due := t.add(*x); due {
			jobs = append(jobs, j)
			j.state.end(0)
		}
		if x.at%(500*time.Millisecond) == 0 {
			for j := range t.dueByGroup {
				jobs = append(jobs, j)
				j.state.end(0)
			}
		}
	}
	return jobs
}

func of(pid int) sample {
	return sample{program: process.Execution{PID: pid}, tid: int32(pid), owner: fair.Owner{UID: 1000, Cgroup: 7}, at: time.Minute}
}

func TestAProgramIsDueAfterEachInterval(t *testing.T) {
	x := of(1)
	jobs := feed(newTracker(testInterval), &x, 3*testInterval-1)
	if len(jobs) != 2 || jobs[0].byGroup || len(jobs[0].instructions) != testInterval || jobs[1].samples != 2*testInterval {
		t.Errorf("got %+v", jobs)
	}
}

func TestAMinerThatRestartsIsDueByItsCgroup(t *testing.T) {
	all := newTracker(testInterval)
	var jobs []job
	at := time.Minute
	next := func(pid int) sample {
		at += 100 * time.Millisecond
		x := of(pid)
		x.at = at
		return x
	}
	for pid := range 60 {
		x := next(pid + 1)
		jobs = append(jobs, feed(all, &x, 5)...)
	}
	if len(jobs) != 2 || !jobs[0].byGroup || jobs[0].samples < minOwnSamples {
		t.Errorf("got %+v", jobs)
	}
	all, jobs = newTracker(testInterval), nil
	for n := range 100 {
		x := next(1)
		x.program.Exec = uint64(n)
		jobs = append(jobs, feed(all, &x, 5)...)
	}
	if len(jobs) == 0 {
		t.Error("it was not found if it executes itself")
	}
	all, jobs = newTracker(testInterval), nil
	for pid := range 40 {
		x := next(pid + 1)
		x.owner.Cgroup = uint64(pid)
		jobs = append(jobs, feed(all, &x, 5)...)
	}
	if len(jobs) > 0 {
		t.Errorf("programs of different cgroups are due: %+v", jobs)
	}
}

// A verdict that waits is missed if the program has a successor meanwhile: that is due at once.
func TestTheSuccessorOfAProgramWhoseVerdictWaitsIsDue(t *testing.T) {
	all, x := newTracker(testInterval), of(1)
	jobs := feed(all, &x, testInterval)
	if len(jobs) != 1 || jobs[0].missed == nil {
		t.Fatalf("got %+v", jobs)
	}
	jobs[0].state.end(x.at + time.Minute)
	jobs[0].missed.Store(true)
	next := of(2)
	next.at = x.at
	if jobs := feed(all, &next, 25); len(jobs) != 1 || jobs[0].key != next.program {
		t.Errorf("got %+v", jobs)
	}
}

func TestAProgramIsExaminedOnceAtATime(t *testing.T) {
	all, x, due := newTracker(testInterval), of(1), 0
	var last job
	for range 10 * testInterval {
		x.at += 20 * time.Millisecond
		if j, ok := all.add(x); ok {
			last = j
			due++
		}
	}
	if due != 1 {
		t.Fatalf("%d examinations at a time", due)
	}
	last.state.end(x.at + time.Second)
	if jobs := feed(all, &x, 49); len(jobs) > 0 {
		t.Error("it is examined before the retry")
	}
	if jobs := feed(all, &x, 2); len(jobs) != 1 {
		t.Error("it is not examined again")
	}
}

func TestAfterAReloadProgramsAreExaminedAgain(t *testing.T) {
	all, x := newTracker(testInterval), of(1)
	for _, j := range feed(all, &x, testInterval) {
		j.state.reported.Store(9)
	}
	all.apply(testInterval)
	jobs := feed(all, &x, 1)
	if len(jobs) != 1 || jobs[0].state.reported.Load() != 0 {
		t.Errorf("got %+v", jobs)
	}
}

func TestWhatDoesNotComputeIsForgotten(t *testing.T) {
	all, x := newTracker(testInterval), of(1)
	feed(all, &x, 10)
	all.sweep(x.at + forgetAfter)
	if all.programs.Len() != 1 || all.cgroups.Len() != 1 {
		t.Error("it is forgotten too early")
	}
	all.sweep(x.at + forgetAfter + 1)
	if all.programs.Len()+all.cgroups.Len() != 0 {
		t.Error("it is remembered")
	}
}

// The memory is bounded, and a flood of programs does not hide others.
func TestAMinerIsFoundInAFlood(t *testing.T) {
	for name, flood := range map[string]func(i int, x *sample){
		"of one cgroup":             func(_ int, x *sample) { x.owner.Cgroup = 8 },
		"a cgroup for each":         func(i int, x *sample) { x.owner = fair.Owner{UID: 1001, Cgroup: uint64(1000 + i)} },
		"a user for each":           func(i int, x *sample) { x.owner = fair.Owner{UID: uint32(2000 + i), Cgroup: 8} },
		"executing again and again": func(i int, x *sample) { x.program = process.Execution{PID: 9, Exec: uint64(i)}; x.owner.Cgroup = 8 },
	} {
		t.Run(name, func(t *testing.T) {
			all, miner, n := newTracker(testInterval), of(1), 0
			for range 2 * testInterval {
				if len(feed(all, &miner, 1)) > 0 {
					return
				}
				for range 100 {
					x := of(1<<20 + n)
					flood(n, &x)
					x.at = miner.at
					feed(all, &x, 1)
					n++
				}
				if all.programs.Len() > programBounds.Entries || all.programs.Weight() > programBounds.Weight || all.cgroups.Len() > cgroupBounds.Entries {
					t.Fatalf("%d programs with %d samples, %d cgroups", all.programs.Len(), all.programs.Weight(), all.cgroups.Len())
				}
			}
			t.Error("it was not found")
		})
	}
}

// A container's processes use its limits, whatever their users and cgroups. Its own cgroup is found
// once for each cgroup below.
func TestTheLimitsOfAContainerAreUsed(t *testing.T) {
	all, asked := newTracker(testInterval), 0
	find := inContainers(func(pid int) string { return map[int]string{1: "a", 2: "a", 3: "b"}[pid] })
	all.locate = func(pid int) (process.Event, error) {
		asked++
		return find(pid)
	}
	owners := func(pid int) (got []string) {
		x := of(pid)
		x.owner = fair.Owner{UID: uint32(1000 + pid), Cgroup: uint64(pid)}
		for _, j := range feed(all, &x, 2*testInterval) {
			got = append(got, j.Owner())
		}
		return got
	}
	for pid, want := range map[int]string{1: "/a", 2: "/a", 3: "/b"} {
		if got := owners(pid); len(got) != 2 || got[0] != want || got[1] != want {
			t.Errorf("process %d uses the limits of %q", pid, got)
		}
	}
	if asked != 3 {
		t.Errorf("asked %d times", asked)
	}
	x := of(3) // it has moved to another cgroup since its samples
	if jobs := feed(all, &x, testInterval); len(jobs) != 1 || jobs[0].owner != "/b" || all.groupOf(&program{count: count{owner: x.owner}}).home != nil {
		t.Errorf("got %+v", jobs)
	}
	all.locate = func(int) (process.Event, error) { return process.Event{}, process.ErrGone }
	if x := of(4); feed(all, &x, testInterval)[0].owner != "" {
		t.Error("a process that has ended uses the limits of somebody")
	}
}

func TestTheCreditBoundsWhatIsSearched(t *testing.T) {
	c := newCredit()
	if !c.spend(initialCredit) || c.spend(1) {
		t.Fatal("the initial credit is another")
	}
	for range 2 * maxCredit / earned {
		c.earn()
	}
	if got := c.bytes.Load(); got != maxCredit {
		t.Errorf("credit %d", got)
	}
	if got := time.Duration(c.lists.Load()); got != maxLists {
		t.Errorf("credit for lists %v", got)
	}
}
