package hashwork

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/container"
	"github.com/cryptnono/cryptnono/internal/detector/hashwork/scratchpad"
	"github.com/cryptnono/cryptnono/internal/detector/hashwork/words"
	"github.com/cryptnono/cryptnono/internal/printable"
	"github.com/cryptnono/cryptnono/internal/process"
)

const (
	maxName = 256 // bytes of a name
	// namesTime bounds the search for the names of containers.
	namesTime = time.Second
)

// A frame is what computed in an interval: a line of `cryptnono top --json`. docs/cli.md lists the
// keys.
type frame struct {
	Time       time.Time  `json:"time"`
	Seconds    float64    `json:"seconds"`
	Lost       uint64     `json:"lost_samples"`
	Thresholds thresholds `json:"thresholds"`
	Containers []*totals  `json:"containers"` // by CPU time in the interval
	Processes  []*row     `json:"processes"`  // in the order of containers, then by CPU time
	Others     int        `json:"others"`     // processes that computed and are not shown
}

// thresholds are those of the rules.
type thresholds struct {
	Protocol  int     `json:"protocol_words"`
	Algorithm int     `json:"algorithm_words"`
	Constants int     `json:"constants"`
	Share     float64 `json:"share"`
	Walks     float64 `json:"walks"`
	AES       float64 `json:"aes"`
}

// A place is where a process belongs.
type place struct {
	Cgroup      string `json:"cgroup"` // outside of containers, that of the owner for totals
	ContainerID string `json:"container_id,omitempty"`
	NestedID    string `json:"nested_id,omitempty"`
	Container   string `json:"container,omitempty"`
	Image       string `json:"image,omitempty"`
	Pod         string `json:"pod,omitempty"`
	Namespace   string `json:"namespace,omitempty"`
}

// totals are of a container or, outside of containers, of a service or a user's slice.
type totals struct {
	place
	CPUPercent float64 `json:"cpu_percent"` // of all its processes
	// These are sums over the processes that are shown.
	Processes   int     `json:"processes"`
	CPUSeconds  float64 `json:"cpu_seconds"`
	Read        uint64  `json:"read_bytes"`
	Written     uint64  `json:"written_bytes"`
	Connections uint32  `json:"connections"`
}

// A row is of a process.
type row struct {
	place
	PID        int     `json:"pid"`
	UID        uint32  `json:"uid"`
	Comm       string  `json:"comm"`
	Program    string  `json:"program"`
	Threads    int     `json:"threads"`
	CPUPercent float64 `json:"cpu_percent"` // 100 is one CPU, in user mode
	CPUSeconds float64 `json:"cpu_seconds"` // since its start
	look
	Error string `json:"error,omitempty"` // what could not be read

	in *totals
}

// A located cgroup is one in which something computed.
type located struct {
	cgroup cgroup.Cgroup
	names  *container.Container // nil if there are none
}

// fill looks at the processes of a cut, for at most some time: what takes longer is left out.
func (t *top) fill(ctx context.Context, c cut, limit time.Duration) frame {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s := t.policy.settings
	f := frame{
		Time: c.at.UTC().Truncate(time.Millisecond), Seconds: c.took.Seconds(), Lost: c.lost, Others: c.others,
		Thresholds: thresholds{words.MinProtocol, words.MinAlgorithm, words.MinConstant, s.Program.MinShare, scratchpad.MinWalks, scratchpad.MinAES},
		Containers: []*totals{}, Processes: []*row{},
	}
	perSample := 100 / (float64(s.SampleRate) * max(c.took.Seconds(), 0.001))
	places := t.locate(ctx, c)
	seen := make(map[process.Execution]*row)
	var running sync.WaitGroup
	for _, j := range c.jobs {
		r := &row{PID: j.key.PID, UID: j.uid, CPUPercent: round(float64(c.samples[j.key]) * perSample), place: places[j.by.Cgroup].place(false)}
		seen[j.key] = r
		f.Processes = append(f.Processes, r)
		j.owner = places[j.by.Cgroup].cgroup.Owner
		running.Go(func() { t.fillRow(ctx, j, r) })
	}
	running.Wait()
	t.seen, t.places = seen, places
	f.sum(c, places, perSample)
	return f
}

// locate finds the cgroups of jobs, and the names of their containers.
func (t *top) locate(ctx context.Context, c cut) map[uint64]located {
	ctx, cancel := context.WithTimeout(ctx, namesTime)
	defer cancel()
	all := make(map[uint64]located)
	var mu sync.Mutex
	var running sync.WaitGroup
	for _, j := range c.jobs {
		id := j.by.Cgroup
		if at, ok := all[id]; ok && at.cgroup.Path != "" {
			continue
		}
		at, ok := t.places[id]
		if !ok || at.cgroup.Path == "" {
			e, err := t.Inventory.Locate(j.key.PID)
			if err == nil && e.Start == j.key.Start && (e.Cgroup.ID() == id || e.Cgroup.Depth > len(e.Cgroup.Levels) || e.Cgroup.Hierarchy != 0) {
				at.cgroup = e.Cgroup
			}
		}
		all[id] = at
	}
	for id, at := range maps.Clone(all) {
		if at.names != nil || !at.cgroup.Container.Contained() || t.Containers == nil {
			continue
		}
		running.Go(func() {
			names, err := t.Containers.Lookup(ctx, at.cgroup.Container)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				all[id] = located{at.cgroup, names}
			}
		})
	}
	running.Wait()
	return all
}

// fillRow looks at a process.
func (t *top) fillRow(ctx context.Context, j job, r *row) {
	var before *look
	if old := t.seen[j.key]; old != nil {
		before = &old.look
	}
	err := func() error {
		h, err := j.key.Open()
		if err != nil {
			return err
		}
		defer h.Close()
		info, _, err := process.Describe(j.key.PID)
		if err != nil {
			return err
		}
		r.Comm, r.Program = printable.Text([]byte(info.Comm), maxName), printable.Text([]byte(info.Program), maxPath)
		r.Threads, r.CPUSeconds = info.Threads, info.CPU.Seconds()
		r.look, err = t.examiner.look(ctx, h, j, before)
		return err
	}()
	if err != nil {
		r.Error = printable.Visible(err.Error(), maxPath)
	}
}

// sum fills in the totals, and orders the rows.
func (f *frame) sum(c cut, places map[uint64]located, perSample float64) {
	all := make(map[place]*totals)
	for i, j := range c.jobs {
		r, of := f.Processes[i], places[j.by.Cgroup].place(true)
		if all[of] == nil {
			all[of] = &totals{place: of}
			f.Containers = append(f.Containers, all[of])
		}
		r.in = all[of]
		r.in.Processes++
		r.in.CPUSeconds += r.CPUSeconds
		if r.Moved != nil {
			r.in.Read += r.Moved.Read
			r.in.Written += r.Moved.Written
			r.in.Connections += r.Moved.Connections
		}
	}
	for id, at := range places {
		all[at.place(true)].CPUPercent += float64(c.cgroups[id]) * perSample
	}
	for _, t := range f.Containers {
		t.CPUPercent, t.CPUSeconds = round(t.CPUPercent), round(t.CPUSeconds)
	}
	slices.SortStableFunc(f.Containers, func(a, b *totals) int { return cmp.Compare(b.CPUPercent, a.CPUPercent) })
	at := make(map[*totals]int)
	for i, t := range f.Containers {
		at[t] = i
	}
	slices.SortStableFunc(f.Processes, func(a, b *row) int {
		return cmp.Or(cmp.Compare(at[a.in], at[b.in]), cmp.Compare(b.CPUPercent, a.CPUPercent))
	})
}

// place returns the printable names of a cgroup, or of its owner.
func (l located) place(owner bool) place {
	c := l.cgroup
	p := place{Cgroup: printable.Text([]byte(c.Path), maxPath)}
	if owner {
		p.Cgroup = printable.Text([]byte(c.Owner), maxPath)
	}
	if c.Container.Contained() {
		p.ContainerID, p.NestedID = name(c.Container.ID), name(c.Container.Nested)
	}
	for n := l.names; n != nil; n = n.Nested { // the names of the innermost one
		p.Container, p.Image = name(n.Name), name(n.Image)
		if n.Pod != "" {
			p.Pod, p.Namespace = name(n.Pod), name(n.Namespace)
		}
	}
	return p
}

func name(text string) string { return printable.Text([]byte(text), maxName) }

// round rounds to two decimals.
func round(x float64) float64 { return math.Round(x*100) / 100 }
