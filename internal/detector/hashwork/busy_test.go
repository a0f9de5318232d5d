package hashwork

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/fair"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

func busyPolicy(hours int) *policy {
	s := Defaults()
	s.Report.CPUHours = hours
	p := topPolicy()
	p.Settings = s
	return &policy{p, s}
}

// inContainers returns a function that finds processes in containers, by their pids, which are the ids
// of their cgroups too.
func inContainers(id func(pid int) string) func(int) (process.Event, error) {
	return func(pid int) (process.Event, error) {
		e := process.Event{Who: process.Who{PID: pid}}
		e.Cgroup.Levels, e.Cgroup.Depth = []cgroup.Level{{ID: uint64(pid)}}, 1
		e.Cgroup.Owner = "/" + id(pid)
		if e.Cgroup.Container.ID = id(pid); e.Cgroup.Container.ID == "" {
			e.Cgroup.Container = cgroup.ContainerRef{Level: -1}
		}
		return e, nil
	}
}

func TestAContainerIsCheckedAfterItsCPUHours(t *testing.T) {
	p := busyPolicy(1)
	b := newBusy()
	all, now := newTracker(testInterval), time.Minute
	all.locate = inContainers(func(pid int) string { return map[int]string{1: "a", 2: "a", 3: "b"}[pid] })
	compute := func(hours float64, pids ...int) (due []busyJob) {
		for range 10 {
			now += time.Minute
			for _, pid := range pids {
				for range int(hours * 360 * 49) {
					all.add(sample{program: process.Execution{PID: pid}, owner: fair.Owner{Cgroup: uint64(pid)}, at: now})
				}
			}
			due = append(due, b.count(all, p, now)...)
		}
		return due
	}
	if due := compute(0.4, 1, 2, 4); len(due) > 0 { // pid 4 is in no container
		t.Fatalf("due after 0.8 hours: %+v", due)
	}
	due := compute(0.2, 1, 2, 3, 4)
	if len(due) != 1 || due[0].container.key.id != "a" || len(due[0].peers) != 2 || due[0].cpu < time.Hour {
		t.Fatalf("due after 1.2 hours: %+v", due)
	}
	if due := compute(0.05, 1); len(due) != 1 { // busyRetry
		t.Errorf("due again %d times in ten minutes", len(due))
	}
	due[0].container.nextAt.Store(int64(now + busyAgain))
	for range 10 {
		if due := compute(0.05, 1, 2); len(due) > 0 {
			t.Fatal("it is due again on the day of its line")
		}
	}
	now += busyAgain
	if due := compute(0.05, 1, 2); len(due) == 0 {
		t.Error("it is not due on the next day")
	}
	if due := newBusy().count(all, busyPolicy(0), now); len(due) > 0 {
		t.Error("it is due although it is off")
	}
}

func TestTheCountsOfContainersAreBounded(t *testing.T) {
	b := newBusy()
	for n := range 2 * busyBounds.Entries {
		k := containerKey{id: strings.Repeat("x", n%7) + string(rune('a'+n%26)) + time.Duration(n).String()}
		b.containers.Find(k, func() *usage { return &usage{key: k, owner: fair.Owner{Cgroup: uint64(n)}} })
	}
	if n := b.containers.Len(); n > busyBounds.Entries {
		t.Errorf("%d containers", n)
	}
}

// What computes in a container and moves nothing has a line, what moves more has none.
func TestABusyContainerIsReported(t *testing.T) {
	testutil.Privileged(t)
	walk := testutil.BuildC(t, "test/victims/scratchpad.c")
	b := newBed(t, func(s *Settings) { s.Enabled, s.Program.Enabled, s.Scratchpad.Enabled = true, false, false })
	in := testutil.MakeCgroup(t, "/docker/"+strings.Repeat("d", 64))
	quiet := testutil.StartIn(t, in, exec.Command(walk, "table"))
	loud := testutil.StartIn(t, in, exec.Command("sh", "-c", "while :; do echo 1234567890123456789012345678901234567890; done > /dev/null"))
	check := func(cmd *exec.Cmd) error {
		at, err := b.verdicts.Inventory.Locate(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		all := newTracker(testInterval)
		x := sample{program: process.Execution{PID: at.PID, Start: at.Start}, owner: fair.Owner{Cgroup: at.Cgroup.ID()}}
		for range 100 {
			all.add(x)
		}
		u := &usage{key: keyOf(at.Cgroup.Container)}
		for _, p := range all.programs.All() {
			err = b.verdicts.reportBusy(t.Context(), newBusyJob(all, u, []*program{p}, busyPolicy(0)))
		}
		return err
	}
	var lines []map[string]any
	testutil.Eventually(t, "its line", func() bool { // its start moved some bytes
		if err := check(quiet); err != nil {
			t.Fatal(err)
		}
		lines = b.lines(quiet.Process.Pid)
		return len(lines) > 0
	})
	if err := check(loud); err != nil {
		t.Error(err)
	}
	if len(lines) != 1 || lines[0]["action"] != "busy" || !strings.HasPrefix(lines[0]["cgroup"].(string), "/docker/ddd") || lines[0]["evidence"] == nil {
		t.Errorf("the lines are %v", lines)
	}
	if lines := b.lines(loud.Process.Pid); len(lines) > 0 {
		t.Errorf("what moves much is reported: %v", lines)
	}
	if err := quiet.Process.Signal(unix.Signal(0)); err != nil {
		t.Errorf("it died: %v", err)
	}
}
