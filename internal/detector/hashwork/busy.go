package hashwork

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/fair"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/report"
)

const (
	// maxIdleBytes is what a container may move in a CPU-hour to be reported as busy: 2.8 KB
	// in a second. It was chosen, not measured: health checks of some hundred bytes every ten
	// seconds stay below it, and what works on data is far above.
	maxIdleBytes = 10_000_000
	// busyAgain is the time between two lines about a container, and busyRetry that between
	// two checks whether it still moves too much.
	busyAgain, busyRetry = 24 * time.Hour, 10 * time.Minute
	// maxPeers bounds the processes of a container that are read.
	maxPeers = 32
)

// busyBounds: a container takes less than 1 KB.
//
//nolint:gochecknoglobals // read only
var busyBounds = fair.Bounds{Entries: 4096}

// A busyCounter counts the CPU time of containers, for the line about those that compute for long and
// move very little. It is for one goroutine.
type busyCounter struct {
	containers fair.Roster[containerKey, *usage]
}

func newBusy() *busyCounter {
	return &busyCounter{fair.NewRoster[containerKey, *usage](busyBounds)}
}

// A containerKey identifies the innermost container.
type containerKey struct{ id, nested string }

func keyOf(c cgroup.ContainerRef) containerKey { return containerKey{c.ID, c.Nested} }

// A usage is the CPU time of a container.
type usage struct {
	key    containerKey
	owner  fair.Owner
	newest time.Duration
	cpu    time.Duration
	nextAt atomic.Int64 // time.Duration: monotonic time before which it is not checked
}

// Owner implements fair.Entry.
func (u *usage) Owner() fair.Owner { return u.owner }

// Newest implements fair.Entry.
func (u *usage) Newest() time.Duration { return u.newest }

// Weight implements fair.Entry.
func (u *usage) Weight() int { return 0 }

// count adds the CPU time of all cgroups of a tracker since the last call, and returns a job for
// each container that is to be checked.
func (b *busyCounter) count(t *tracker, p *policy, now time.Duration) (due []busyJob) {
	limit := time.Duration(p.settings.Report.CPUHours) * time.Hour
	if limit == 0 {
		return nil
	}
	for _, g := range t.cgroups.All() {
		if !g.contained() {
			continue
		}
		k := g.home.container
		u := b.containers.Find(k, func() *usage { return &usage{key: k, owner: g.owner, newest: g.at} })
		u.cpu += time.Duration(g.samples-g.counted) * time.Second / time.Duration(p.settings.SampleRate)
		u.owner, u.newest, g.counted = g.owner, max(u.newest, g.at), g.samples
	}
	b.containers.Sweep(func(u *usage) bool { return now-u.newest > busyAgain })
	var programs map[containerKey][]*program
	for k, u := range b.containers.All() {
		if u.cpu < limit || now < time.Duration(u.nextAt.Load()) {
			continue
		}
		if programs == nil {
			programs = byContainer(t)
		}
		of := programs[k]
		if len(of) == 0 {
			continue
		}
		u.nextAt.Store(int64(now + busyRetry))
		due = append(due, newBusyJob(t, u, of, p))
	}
	return due
}

// byContainer returns the programs of each container, those with the most samples first.
func byContainer(t *tracker) map[containerKey][]*program {
	all := make(map[containerKey][]*program)
	for _, p := range t.programs.All() {
		if g := t.groupOf(p); g.contained() {
			all[g.home.container] = append(all[g.home.container], p)
		}
	}
	for _, of := range all {
		slices.SortFunc(of, func(a, b *program) int { return cmp.Compare(b.samples, a.samples) })
	}
	return all
}

// A busyJob is the check of a container.
type busyJob struct {
	job       // to look at the program that is shown
	container *usage
	cpu       time.Duration // of the container
	peers     []process.Execution
}

// run implements task.
func (j busyJob) run(ctx context.Context, v *verdicts) {
	ctx, cancel := context.WithTimeout(ctx, examineTime)
	defer cancel()
	if err := v.reportBusy(ctx, j); err != nil {
		v.Log.Debug("busy container not reported", "detector", Name, "pid", j.key.PID, "err", err)
	}
}

// newBusyJob returns the job to check a container by its programs, of which the first is shown.
func newBusyJob(t *tracker, u *usage, of []*program, p *policy) busyJob {
	first := of[0]
	j := busyJob{container: u, cpu: u.cpu, job: job{
		key: first.key, by: first.owner, owner: t.owner(first, t.groupOf(first)), samples: first.samples, instructions: slices.Clone(first.instructions),
		registers: first.registers.Clone(), credit: newCredit(), state: new(state), policy: p,
	}}
	for _, other := range of[:min(len(of), maxPeers)] {
		j.peers = append(j.peers, other.key)
	}
	return j
}

// errElsewhere means that a process is no longer in the container.
var errElsewhere = errors.New("in another container")

// reportBusy logs that a container computes, if it moves very little. It never kills.
func (v *verdicts) reportBusy(ctx context.Context, j busyJob) error {
	var cpu time.Duration
	var bytes, network uint64
	for _, k := range j.peers {
		used, moves, err := v.usageOf(ctx, k, j.owner)
		if err != nil {
			v.Log.Debug("process of a busy container not read", "detector", Name, "pid", k.PID, "err", err)
			continue
		}
		cpu += used
		bytes += moves.Read + moves.Written
		network = max(network, moves.Network) // they share it
	}
	bytes += network
	least := time.Duration(j.policy.settings.Report.CPUHours) * time.Hour / 2
	if cpu < least || float64(bytes) >= maxIdleBytes*cpu.Hours() {
		return nil
	}
	h, err := j.key.Open()
	if err != nil {
		return err
	}
	defer h.Close()
	p, err := v.Judge.Reader.Read(ctx, h, j.owner)
	if err != nil {
		return err
	}
	at, err := v.Inventory.Locate(p.PID)
	if err != nil {
		return err
	}
	if keyOf(at.Cgroup.Container) != j.container.key {
		return errElsewhere
	}
	if j.policy.Matcher.Allowed([]byte(p.Program), p.Args) != nil {
		return nil
	}
	if v.Judge.Exempt != nil {
		if by, err := v.Judge.Exempt.Find(ctx, at, p.Program); err != nil || by != "" {
			return err
		}
	}
	l, err := v.examiner.look(ctx, h, j.job, nil)
	if err != nil {
		v.Log.Debug("busy process not read", "detector", Name, "pid", p.PID, "err", err)
	}
	v.Judge.Report.Report(report.Verdict{
		Action: report.Busy, Detector: Name, Source: source,
		PID: at.PID, PPID: at.PPID, UID: at.UID, Cgroup: at.Cgroup,
		Program: report.Program([]byte(p.Program)), Cmdline: report.Cmdline(p.Args, 0),
		After: process.SinceBoot() - j.key.Start,
		Details: []slog.Attr{
			slog.Float64("cpu_hours", round(j.cpu.Hours())),
			slog.Uint64("moved_bytes", bytes),
			slog.Int("processes", len(j.peers)),
			slog.Any("evidence", l),
			slog.Float64("cpu_seconds", round(p.CPU.Seconds())),
			slog.Int("threads", p.Threads),
		},
	})
	j.container.nextAt.Store(int64(process.Monotonic() + busyAgain))
	return nil
}

// usageOf returns the CPU time of a process, and what it has moved.
func (v *verdicts) usageOf(ctx context.Context, k process.Execution, owner string) (time.Duration, moved, error) {
	h, err := k.Open()
	if err != nil {
		return 0, moved{}, err
	}
	defer h.Close()
	info, _, err := process.Describe(k.PID)
	if err != nil {
		return 0, moved{}, err
	}
	a, err := v.Judge.Reader.Activity(ctx, h, owner, "")
	return info.CPU, moved{Read: a.Read, Written: a.Written, Network: a.Network}, err
}
