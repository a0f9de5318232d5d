package monero

import (
	"maps"
	"sync/atomic"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
)

const (
	// minOwnSamples is how many samples a process must have itself to be held
	// responsible for what its cgroup does.
	minOwnSamples = 16
	// boostTime is for how long in a window the sample rate of a process is
	// raised: enough for each rule to make up its mind.
	boostTime = 15 * time.Second
)

// Bounds of what is watched at once. A subject and each of its threads take 1.5 KB
// each.
//
//nolint:gochecknoglobals // read only
var (
	processBounds = bounds{subjects: 1024, threads: 8192}
	cgroupBounds  = bounds{subjects: 256, threads: 4096}
)

// A watched is what samples are counted for: a process or a cgroup.
type watched struct {
	subject *rounding.Subject
	owner   owner         // of the newest sample
	seen    time.Duration // when that was taken
}

func (w *watched) entry() *watched { return w }

// A suspect is a process of which a thread was in a directed mode lately. Its size
// is not for the process to choose.
type suspect struct {
	watched
	key     key
	tid     int               // of the newest sample in a directed mode
	since   time.Time         // of the first sample
	files   files             //
	last    rounding.Decision // of its samples alone
	boosted time.Duration     // when boosting began
	verdict standing
}

// A standing is how far the verdict on a suspect is. The loop of samples and a worker
// share it.
type standing struct {
	fresh   atomic.Int64  // time.Duration: monotonic time of the newest sample
	pending atomic.Bool   // a worker has it, or will
	told    atomic.Uint32 // rounding.Rule: the gravest that was acted upon
	again   atomic.Int64  // time.Duration: monotonic time before which no worker is asked again
}

// boostable reports whether the sample rate may be raised now.
func (s *suspect) boostable(now, window time.Duration) bool {
	if s.boosted == 0 || now-s.boosted > window {
		s.boosted = now
	}
	return now-s.boosted < boostTime
}

// A finding is a process to act upon.
type finding struct {
	*suspect
	decision rounding.Decision
	cgroup   bool // whether the samples are those of its whole cgroup
}

// suspects are all that are watched, each on its own and with its cgroup: a
// miner that starts itself again and again leaves few samples of each process.
type suspects struct {
	thresholds rounding.Thresholds
	processes  roster[key, *suspect]
	cgroups    roster[uint64, *watched]
}

func newSuspects(t rounding.Thresholds) *suspects {
	return &suspects{
		thresholds: t,
		processes:  newRoster[key, *suspect](processBounds),
		cgroups:    newRoster[uint64, *watched](cgroupBounds),
	}
}

// find returns the suspect that a sample is of.
func (all *suspects) find(x sample) *suspect {
	s := all.processes.find(x.program, func() *suspect {
		return &suspect{key: x.program, since: x.wall, watched: all.watch(x)}
	})
	s.owner, s.seen = x.owner, x.at
	s.verdict.fresh.Store(int64(x.at))
	if x.mode != 0 {
		s.tid = x.tid
	}
	return s
}

func (all *suspects) group(x sample) *watched {
	g := all.cgroups.find(x.owner.cgroup, func() *watched {
		w := all.watch(x)
		return &w
	})
	g.owner, g.seen = x.owner, x.at
	return g
}

func (all *suspects) watch(x sample) watched {
	return watched{subject: rounding.NewSubject(all.thresholds), owner: x.owner, seen: x.at}
}

// add counts a sample and returns the processes to act upon.
func (all *suspects) add(s *suspect, x sample) []finding {
	counted := rounding.Sample{Thread: x.thread, CPU: x.used, At: x.at, Mode: x.mode}
	if x.mode != 0 {
		counted.Memory = s.memory(x)
	}
	var found []finding
	if d := all.processes.count(s, counted); d.Samples > 0 {
		s.last = d
	}
	if s.last.Rule != rounding.None {
		found = append(found, finding{s, s.last, false})
	}
	d := all.cgroups.count(all.group(x), counted)
	if d.Rule == rounding.None || d.Thread != 0 { // one thread concerns its own process only
		return found
	}
	for other := range maps.Values(all.processes.entries) {
		if other.owner.cgroup == x.owner.cgroup && d.Rule > other.last.Rule && all.partOf(d.Rule, other.last) {
			found = append(found, finding{other, d, true})
		}
	}
	return found
}

// partOf reports whether a process does itself what the decision on its cgroup
// says, as far as its few samples can tell.
func (all *suspects) partOf(r rounding.Rule, own rounding.Decision) bool {
	if own.Samples < minOwnSamples {
		return false
	}
	if r == rounding.JIT {
		return 1-own.Modes[0] >= all.thresholds.MinDirected && own.JIT >= rounding.MinJIT
	}
	return own.Modes[0] <= rounding.MaxNearest && own.Held <= rounding.MaxHeld &&
		min(own.Modes[1], own.Modes[2], own.Modes[3]) >= rounding.MinEachMode
}

// sweep forgets what has left the window.
func (all *suspects) sweep(now time.Duration) {
	all.processes.sweep(now)
	all.cgroups.sweep(now)
}
