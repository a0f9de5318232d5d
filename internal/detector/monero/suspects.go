package monero

import (
	"sync/atomic"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
	"github.com/cryptnono/cryptnono/internal/fair"
	"github.com/cryptnono/cryptnono/internal/process"
)

const (
	// minOwnSamples is the minimum number of its own samples for a process to be part of the
	// finding about its cgroup.
	minOwnSamples = 16
	// maxRaised is for how long in each window the sample rate of a process is raised. It is
	// enough for each rule.
	maxRaised = 15 * time.Second
)

// A subject takes 1.5 KB, and so does each of its threads.
//
//nolint:gochecknoglobals // read only
var (
	processBounds = fair.Bounds{Entries: 1024, Weight: 8192}
	cgroupBounds  = fair.Bounds{Entries: 256, Weight: 4096}
)

// A target is a process or a cgroup whose samples are counted.
type target struct {
	subject *rounding.Subject
	owner   fair.Owner    // of the newest sample
	newest  time.Duration // monotonic time of that sample
}

func newTarget(t rounding.Thresholds, x sample) target {
	return target{subject: rounding.NewSubject(t), owner: x.owner, newest: x.at}
}

// Owner implements fair.Entry.
func (t *target) Owner() fair.Owner { return t.owner }

// Weight implements fair.Entry.
func (t *target) Weight() int { return t.subject.Threads() }

// Newest implements fair.Entry.
func (t *target) Newest() time.Duration { return t.newest }

// count counts a sample for an entry of a roster.
func count[K comparable, V interface {
	fair.Entry
	base() *target
}](r *fair.Roster[K, V], v V, x rounding.Sample) rounding.Decision {
	before := v.Weight()
	d := v.base().subject.Add(x)
	r.Changed(v, before)
	return d
}

func (t *target) base() *target { return t }

// A suspect is a process with a thread that recently was in a directed mode. Its size is
// bounded, whatever the process does.
type suspect struct {
	target
	key     process.Execution
	uid     uint32    // of the newest sample
	tid     int       // of the newest sample in a directed mode
	since   time.Time // of the first sample
	files   files
	last    rounding.Decision // from its own samples
	raised  time.Duration     // monotonic time since which the sample rate is raised
	verdict verdictState
}

// A verdictState is the state of the verdict on a suspect. The goroutine that reads samples
// and a worker share it.
type verdictState struct {
	pending  atomic.Bool   // in a queue or with a worker
	reported atomic.Uint32 // rounding.Rule: the strongest that was acted on
	retryAt  atomic.Int64  // time.Duration: monotonic time before which it is not queued again
}

// mayRaiseRate reports whether the sample rate may be raised now.
func (s *suspect) mayRaiseRate(now, window time.Duration) bool {
	if s.raised == 0 || now-s.raised > window {
		s.raised = now
	}
	return now-s.raised < maxRaised
}

// A finding is a suspect that matches a rule.
type finding struct {
	*suspect
	decision rounding.Decision
	cgroup   bool // the decision is about the samples of its whole cgroup
}

// suspects has the tracked processes and cgroups. Cgroups are tracked because a miner that
// restarts itself again and again gives few samples of each process.
type suspects struct {
	thresholds rounding.Thresholds
	processes  fair.Roster[process.Execution, *suspect]
	cgroups    fair.Roster[uint64, *target]
}

func newSuspects(t rounding.Thresholds) *suspects {
	return &suspects{
		thresholds: t,
		processes:  fair.NewRoster[process.Execution, *suspect](processBounds),
		cgroups:    fair.NewRoster[uint64, *target](cgroupBounds),
	}
}

// find returns the suspect of a sample, a new one if necessary.
func (all *suspects) find(x sample) *suspect {
	s := all.processes.Find(x.program, func() *suspect {
		return &suspect{key: x.program, since: x.wall, target: newTarget(all.thresholds, x)}
	})
	s.owner, s.uid, s.newest = x.owner, x.uid, x.at
	if x.mode != 0 {
		s.tid = x.tid
	}
	return s
}

func (all *suspects) cgroupOf(x sample) *target {
	g := all.cgroups.Find(x.owner.Cgroup, func() *target {
		w := newTarget(all.thresholds, x)
		return &w
	})
	g.owner, g.newest = x.owner, x.at
	return g
}

// add counts a sample of s and returns the resulting findings.
func (all *suspects) add(s *suspect, x sample) []finding {
	counted := rounding.Sample{Thread: x.thread, CPU: x.used, At: x.at, Mode: x.mode}
	if x.mode != 0 {
		counted.Code = s.code(x)
	}
	var found []finding
	if d := count(&all.processes, s, counted); d.Samples > 0 {
		s.last = d
	}
	if s.last.Rule != rounding.None {
		found = append(found, finding{s, s.last, false})
	}
	d := count(&all.cgroups, all.cgroupOf(x), counted)
	if d.Rule == rounding.None || d.Thread != 0 { // a thread is evidence about its process only
		return found
	}
	for _, other := range all.processes.All() {
		if other.owner.Cgroup == x.owner.Cgroup && d.Rule > other.last.Rule && all.agrees(d.Rule, other.last) {
			found = append(found, finding{other, d, true})
		}
	}
	return found
}

// agrees reports whether the samples of a process agree with rule r, which matches its cgroup.
// They may be too few for the rule.
func (all *suspects) agrees(r rounding.Rule, own rounding.Decision) bool {
	if own.Samples < minOwnSamples {
		return false
	}
	if r == rounding.JIT {
		return 1-own.Modes[0] >= all.thresholds.MinDirected && own.JIT >= rounding.MinJIT
	}
	return own.Modes[0] <= rounding.MaxNearest && own.RepeatShare <= rounding.MaxRepeatShare &&
		min(own.Modes[1], own.Modes[2], own.Modes[3]) >= rounding.MinEachMode
}

// sweep drops processes and cgroups without samples in the window.
func (all *suspects) sweep(now time.Duration) {
	all.processes.Sweep(func(s *suspect) bool { return s.subject.Idle(now) })
	all.cgroups.Sweep(func(t *target) bool { return t.subject.Idle(now) })
}
