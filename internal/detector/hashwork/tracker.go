package hashwork

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/hashwork/scratchpad"
	"github.com/cryptnono/cryptnono/internal/fair"
	"github.com/cryptnono/cryptnono/internal/process"
)

const (
	// minOwnSamples is the minimum number of its own samples for a process that is examined
	// because its cgroup has computed.
	minOwnSamples = 2
	// forgetAfter is the time without a sample after which a process or a cgroup is forgotten.
	// A process with fewer samples than one in that time uses less than a thousandth of a CPU.
	forgetAfter = time.Minute
)

// A program takes 50 KB at most on amd64, 80 KB on arm64.
//
//nolint:gochecknoglobals // read only
var (
	programBounds = fair.Bounds{Entries: 2048, Weight: 1 << 16}
	cgroupBounds  = fair.Bounds{Entries: 4096}
)

// A tracker counts the samples of programs and of cgroups, and says when a program is due to be
// examined: after each interval of its own samples, or of its cgroup's. It is for one goroutine.
type tracker struct {
	interval int // number of samples
	programs fair.Roster[process.Execution, *program]
	cgroups  fair.Roster[uint64, *group]
	locate   func(pid int) (process.Event, error) // nil if no program is ever due
}

func newTracker(interval int) *tracker {
	return &tracker{
		interval: interval,
		programs: fair.NewRoster[process.Execution, *program](programBounds),
		cgroups:  fair.NewRoster[uint64, *group](cgroupBounds),
	}
}

// A count is a number of samples of an owner.
type count struct {
	owner    fair.Owner
	at       time.Duration // of the newest sample, monotonic
	samples  int
	examined int // number of samples when it was last examined
}

// Owner implements fair.Entry.
func (c *count) Owner() fair.Owner { return c.owner }

// Newest implements fair.Entry.
func (c *count) Newest() time.Duration { return c.at }

func (c *count) add(x sample) {
	c.owner, c.at = x.owner, x.at
	c.samples++
}

func (c *count) since() int { return c.samples - c.examined }

// A group is a cgroup in which something computes.
type group struct {
	count
	newest *program // that has minOwnSamples: it is the most likely to be alive
	credit *credit
	missed *atomic.Bool // the program that was to be examined had ended, or may end before its verdict

	home    *home // nil until it is known
	counted int   // number of samples in the usage of its container
}

// A home is what a cgroup belongs to.
type home struct {
	owner     string       // Cgroup.Owner
	container containerKey // zero outside of containers
}

// Weight implements fair.Entry.
func (g *group) Weight() int { return 0 }

// contained reports whether it is known to belong to a container.
func (g *group) contained() bool { return g.home != nil && g.home.container != (containerKey{}) }

// groupOf returns the group of a program, a new one if there is none.
func (t *tracker) groupOf(p *program) *group {
	return t.cgroups.Find(p.owner.Cgroup, func() *group {
		return &group{count: count{owner: p.owner, at: p.at}, credit: newCredit(), missed: new(atomic.Bool)}
	})
}

// owner returns whose limits are used for a program, "" if it has ended. A process can move, but its
// cgroup cannot.
func (t *tracker) owner(p *program, g *group) string {
	if g.home != nil {
		return g.home.owner
	}
	if t.locate == nil {
		return ""
	}
	e, err := t.locate(p.key.PID)
	if err != nil || e.Start != p.key.Start {
		return ""
	}
	h := &home{strings.Clone(e.Cgroup.Owner), keyOf(e.Cgroup.Container)}
	if e.Cgroup.ID() == p.owner.Cgroup || e.Cgroup.Depth > len(e.Cgroup.Levels) {
		g.home = h
	}
	return h.owner
}

// A program is one execution of a program by a process.
type program struct {
	count
	key          process.Execution
	uid          uint32              // of the newest sample
	instructions []uint64            // of the last samples, of all threads
	registers    *scratchpad.Samples // of a few threads
	state        *state
}

// maxInstructions is the number of samples by which a program is assigned to files.
const maxInstructions = 256

// Weight implements fair.Entry.
func (p *program) Weight() int { return len(p.instructions) + p.registers.Len() }

// add counts a sample. It returns a job if a program is due because of its own samples.
func (t *tracker) add(x sample) (j job, due bool) {
	p := t.programs.Find(x.program, func() *program {
		return &program{count: count{owner: x.owner, at: x.at}, key: x.program, registers: scratchpad.New(arch), state: new(state)}
	})
	p.add(x)
	p.uid = x.uid
	g := t.groupOf(p)
	g.add(x)
	g.credit.earn()
	before := p.Weight()
	if len(p.instructions) < maxInstructions {
		p.instructions = append(p.instructions, x.instruction)
	} else {
		p.instructions[p.samples%maxInstructions] = x.instruction
	}
	p.registers.Add(x.tid, x.instruction, x.registers)
	t.programs.Changed(p, before)
	if p.samples >= minOwnSamples {
		g.newest = p
	}
	if p.since() < t.interval || !p.state.begin(x.at) {
		return job{}, false
	}
	return t.job(p, g, false), true
}

// dueByGroup yields a job for each cgroup that is due: since a miner can restart itself again and
// again, the newest program in it is examined.
func (t *tracker) dueByGroup(yield func(job) bool) {
	for _, g := range t.cgroups.All() {
		p := g.newest
		if p == nil || g.since() < t.interval && !g.missed.Load() || !p.state.begin(p.at) {
			continue
		}
		g.newest = nil
		g.missed.Store(false)
		if !yield(t.job(p, g, true)) {
			return
		}
	}
}

func (t *tracker) job(p *program, g *group, byGroup bool) job {
	p.examined, g.examined = p.samples, g.samples
	return job{
		key: p.key, by: p.owner, uid: p.uid, owner: t.owner(p, g), samples: p.samples, instructions: slices.Clone(p.instructions),
		registers: p.registers.Clone(), credit: g.credit, missed: g.missed, byGroup: byGroup, state: p.state,
	}
}

// apply sets the interval. All programs are due again, also those with a verdict.
func (t *tracker) apply(interval int) {
	t.interval = interval
	for _, p := range t.programs.All() {
		p.state.reopen()
		p.examined = -interval
	}
}

// sweep forgets what has not computed recently.
func (t *tracker) sweep(now time.Duration) {
	t.programs.Sweep(func(p *program) bool { return now-p.at > forgetAfter })
	t.cgroups.Sweep(func(g *group) bool { return now-g.at > forgetAfter })
}
