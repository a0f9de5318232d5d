package monero

import (
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
)

const (
	// maxSubjects bounds the processes, and the cgroups, that are watched at
	// once. Those beyond are watched as soon as others leave.
	maxSubjects = 4096
	// minOwnSamples is how many samples a process must have itself to be held
	// responsible for what its cgroup does.
	minOwnSamples = 16
	// boostTime is for how long in a window the sample rate of a process is
	// raised: enough for each rule to make up its mind.
	boostTime = 15 * time.Second
)

// A suspect is a process of which a thread was in a directed mode lately.
type suspect struct {
	key     key
	cgroup  uint64
	subject *rounding.Subject
	last    rounding.Decision // of its samples alone
	memory  memory
	mapped  time.Duration // when memory was read, in the samples' time; 0 for never
	boosted time.Duration // when boosting began
	told    rounding.Rule // the gravest that was acted upon
}

// boostable reports whether the sample rate may be raised now.
func (s *suspect) boostable(now, window time.Duration) bool {
	if s.boosted == 0 || now-s.boosted > window {
		s.boosted = now
	}
	return now-s.boosted < boostTime
}

// suspects are all that are watched, each on its own and with its cgroup: a
// miner that starts itself again and again leaves few samples of each process.
type suspects struct {
	thresholds rounding.Thresholds
	processes  map[key]*suspect
	cgroups    map[uint64]*rounding.Subject
	swept      time.Duration
}

func newSuspects(t rounding.Thresholds) *suspects {
	return &suspects{thresholds: t, processes: make(map[key]*suspect), cgroups: make(map[uint64]*rounding.Subject)}
}

// find returns the suspect that a sample is of, or nil if there are too many.
func (all *suspects) find(x sample) *suspect {
	if x.at-all.swept > all.thresholds.Window/8 {
		all.sweep(x.at)
	}
	s := all.processes[x.process]
	if s == nil && len(all.processes) < maxSubjects {
		s = &suspect{key: x.process, subject: rounding.NewSubject(all.thresholds)}
		all.processes[x.process] = s
	}
	if s != nil {
		s.cgroup = x.cgroup
	}
	return s
}

// forget drops a process that is dead, or not the same program any more.
func (all *suspects) forget(k key) { delete(all.processes, k) }

// add counts a sample for a suspect and for its cgroup, and returns the
// processes to act upon, each with the decision that says so.
func (all *suspects) add(s *suspect, x rounding.Sample) map[*suspect]rounding.Decision {
	found := make(map[*suspect]rounding.Decision)
	if d := s.subject.Add(x); d.Samples > 0 {
		s.last = d
	}
	if s.last.Rule != rounding.None {
		found[s] = s.last
	}
	group := all.cgroups[s.cgroup]
	if group == nil {
		if len(all.cgroups) >= maxSubjects {
			return found
		}
		group = rounding.NewSubject(all.thresholds)
		all.cgroups[s.cgroup] = group
	}
	d := group.Add(x)
	if d.Rule == rounding.None {
		return found
	}
	for _, other := range all.processes {
		if other.cgroup == s.cgroup && found[other].Rule < d.Rule && all.partOf(d, other.last) {
			found[other] = d
		}
	}
	return found
}

// partOf reports whether a process does itself what the decision on its cgroup
// says.
func (all *suspects) partOf(d, own rounding.Decision) bool {
	t := &all.thresholds
	directed := 1 - own.Modes[0]
	return own.Samples >= minOwnSamples && directed >= 1-t.MaxNearest &&
		(d.Rule != rounding.JIT || directed >= t.MinDirected && own.JIT >= t.MinJIT)
}

// sweep forgets what has left the window.
func (all *suspects) sweep(now time.Duration) {
	all.swept = now
	for k, s := range all.processes {
		if s.subject.Idle(now) {
			delete(all.processes, k)
		}
	}
	for id, g := range all.cgroups {
		if g.Idle(now) {
			delete(all.cgroups, id)
		}
	}
}
