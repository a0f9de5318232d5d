package monero

import (
	"maps"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
)

const (
	// maxProcesses and maxCgroups bound what is watched at once.
	maxProcesses = 1024
	maxCgroups   = 256
	// minOwnSamples is how many samples a process must have itself to be held
	// responsible for what its cgroup does.
	minOwnSamples = 16
	// boostTime is for how long in a window the sample rate of a process is
	// raised: enough for each rule to make up its mind.
	boostTime = 15 * time.Second
)

// A watched is what samples are counted for: a process or a cgroup.
type watched struct {
	subject *rounding.Subject
	seen    time.Duration // when the newest sample was taken
}

func (w *watched) lastSeen() time.Duration { return w.seen }

// A suspect is a process of which a thread was in a directed mode lately.
type suspect struct {
	watched
	key     key
	cgroup  uint64
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
	processes  map[key]*suspect
	cgroups    map[uint64]*watched
}

func newSuspects(t rounding.Thresholds) *suspects {
	return &suspects{thresholds: t, processes: make(map[key]*suspect), cgroups: make(map[uint64]*watched)}
}

// find returns the suspect that a sample is of.
func (all *suspects) find(x sample) *suspect {
	s := all.processes[x.program]
	if s == nil {
		makeRoom(all.processes, maxProcesses)
		s = &suspect{key: x.program, watched: all.watch()}
		all.processes[x.program] = s
	}
	s.cgroup, s.seen = x.cgroup, x.at
	return s
}

func (all *suspects) group(x sample) *watched {
	g := all.cgroups[x.cgroup]
	if g == nil {
		makeRoom(all.cgroups, maxCgroups)
		w := all.watch()
		g = &w
		all.cgroups[x.cgroup] = g
	}
	g.seen = x.at
	return g
}

func (all *suspects) watch() watched {
	return watched{subject: rounding.NewSubject(all.thresholds)}
}

// makeRoom removes from a full map, of a few entries that chance picks, the one
// seen longest ago. Those that come and go do not displace for long one that is
// seen all the time, and a flood of them costs no more than they do.
func makeRoom[K comparable, V interface{ lastSeen() time.Duration }](m map[K]V, limit int) {
	const few = 8
	if len(m) < limit {
		return
	}
	var oldest K
	n := 0
	for k, v := range m { // begins anywhere
		if n == 0 || v.lastSeen() < m[oldest].lastSeen() {
			oldest = k
		}
		if n++; n == few {
			break
		}
	}
	delete(m, oldest)
}

// add counts a sample and returns the processes to act upon.
func (all *suspects) add(s *suspect, x sample, where rounding.Memory) []finding {
	counted := rounding.Sample{Thread: x.thread, CPU: x.used, At: x.at, Mode: x.mode, Memory: where}
	var found []finding
	if d := s.subject.Add(counted); d.Samples > 0 {
		s.last = d
	}
	if s.last.Rule != rounding.None {
		found = append(found, finding{s, s.last, false})
	}
	d := all.group(x).subject.Add(counted)
	if d.Rule == rounding.None || d.Thread != 0 { // one thread concerns its own process only
		return found
	}
	for _, other := range all.processes {
		if other.cgroup == x.cgroup && d.Rule > other.last.Rule && all.partOf(d.Rule, other.last) {
			found = append(found, finding{other, d, true})
		}
	}
	return found
}

// partOf reports whether a process does itself what the decision on its cgroup
// says, as far as its few samples can tell.
func (all *suspects) partOf(r rounding.Rule, own rounding.Decision) bool {
	t := &all.thresholds
	if own.Samples < minOwnSamples {
		return false
	}
	if r == rounding.JIT {
		return 1-own.Modes[0] >= t.MinDirected && own.JIT >= t.MinJIT
	}
	return own.Modes[0] <= t.MaxNearest && own.Held <= t.MaxHeld &&
		min(own.Modes[1], own.Modes[2], own.Modes[3]) >= t.MinEachMode
}

// forget drops a process.
func (all *suspects) forget(k key) { delete(all.processes, k) }

// sweep forgets what has left the window.
func (all *suspects) sweep(now time.Duration) {
	maps.DeleteFunc(all.processes, func(_ key, s *suspect) bool { return s.subject.Idle(now) })
	maps.DeleteFunc(all.cgroups, func(_ uint64, g *watched) bool { return g.subject.Idle(now) })
}
