// Package evidence finds out what the log says of a process beyond the verdict: its program file, its
// working directory and ancestors, and what else runs in its container.
package evidence

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
)

const (
	// gatherTime bounds all that is read for one line.
	gatherTime = 1500 * time.Millisecond
	// endTime is for how long the end of a killed process is awaited, and then reads for it.
	endTime = time.Second
	// maxText is the maximum length of a path in the log, and maxShort that of one of many, both
	// in bytes.
	maxText, maxShort = 1024, 256
)

// Settings are what is gathered.
type Settings struct {
	Executable       bool
	WorkingDirectory bool
	Ancestors        bool
	Times            bool
	Processes        bool
	Connections      bool
	Interval         time.Duration // between two lines about a container
}

// Default returns the settings of an agent without a settings file.
func Default() Settings {
	return Settings{true, true, true, true, true, true, 5 * time.Minute}
}

// An Inventory lists processes. *inventory.Inventory implements it.
type Inventory interface {
	Processes() ([]process.Event, error)
}

// A Collector gathers evidence. It is safe for concurrent use. nil gathers nothing.
type Collector struct {
	reader    *procread.Reader
	inventory Inventory
	settings  atomic.Pointer[Settings]
	reads     chan struct{} // held while a file is read: most children are for verdicts
	dropped   *prometheus.CounterVec
	openTime  time.Duration // only tests change it

	mu      sync.Mutex
	reading map[string]chan struct{}     // by the name of the owner, closed at the end of its read
	known   map[fileKey]procread.Program // with hashes
	owners  map[string]*owner
	shown   map[string]time.Time // when the last line about a container was due, by its id
}

// New returns a collector.
func New(reader *procread.Reader, inventory Inventory, s Settings) *Collector {
	c := &Collector{
		reader: reader, inventory: inventory, openTime: openTime, reads: make(chan struct{}, maxReads),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cryptnono_evidence_dropped_total",
			Help: "Evidence that was not gathered because there was too much: all of a verdict's line, the hash of an executable, or the line about a container.",
		}, []string{"part"}),
		reading: make(map[string]chan struct{}),
		known:   make(map[fileKey]procread.Program), owners: make(map[string]*owner), shown: make(map[string]time.Time),
	}
	for _, part := range []string{partLine, partExecutable, partContainer} {
		c.dropped.WithLabelValues(part)
	}
	c.Apply(s)
	return c
}

// Values of the label part.
const partLine, partExecutable, partContainer = "line", "executable", "container"

// Apply replaces the settings.
func (c *Collector) Apply(s Settings) { c.settings.Store(&s) }

// Collector returns the metric.
func (c *Collector) Collector() prometheus.Collector { return c.dropped }

// A Subject is a process about which a verdict was given. The zero Opened and Program are allowed.
type Subject struct {
	process.Event
	Program string  // path as executed or as in /proc, "" if it is not known
	Opened  *Opened // what was read before the kill, if user space killed it
	Dead    bool    // it was killed, or has ended
	Decided time.Time
	// Ancestors as the kernel saw them when it killed the process, the nearest first; the farthest may
	// be missing, or all.
	Ancestors []Ancestor
	Directory Directory // likewise; zero if it is not known
}

// A Directory is the working directory of a process, as the kernel saw it.
type Directory struct {
	Path string // any bytes
	Cut  bool   // names nearer to the root are missing before it
}

// Of returns the evidence of a process, which is gathered when it is asked for. It returns nil for a
// nil collector.
func (c *Collector) Of(s Subject) *Evidence {
	if c == nil {
		return nil
	}
	return &Evidence{c, s}
}

// Evidence is that of one verdict. It implements report.Evidence.
type Evidence struct {
	collector *Collector
	of        Subject
}

// Drop counts evidence that is not gathered.
func (e *Evidence) Drop() { e.collector.dropped.WithLabelValues(partLine).Inc() }

// Gather returns the attributes of the verdict's line, and those of a line about its container, nil for
// none. It takes 1.5 seconds at most. docs/logs.md lists the keys.
func (e *Evidence) Gather(ctx context.Context) (line, container []slog.Attr) {
	ctx, cancel := context.WithTimeout(ctx, gatherTime)
	defer cancel()
	c, s := e.collector, &e.of
	wanted := *c.settings.Load()
	peers := newPeers(c.inventory, s.Event)
	defer peers.close()
	if wanted.Times && s.Start > 0 {
		line = append(line, slog.Time("started_at", time.Now().Add(s.Start-process.SinceBoot())))
	}
	if wanted.Times {
		line = append(line, slog.Time("decided_at", s.Decided))
	}
	if wanted.Ancestors {
		if all := s.ancestors(peers); len(all) > 0 {
			line = append(line, slog.Any("ancestors", all))
		}
	}
	if wanted.WorkingDirectory {
		if cwd := s.directory(); cwd != "" {
			line = append(line, slog.String("cwd", cwd))
		}
	}
	if (wanted.Processes || wanted.Connections) && c.isDue(s.Event, wanted.Interval) {
		container = c.container(ctx, s.Event, wanted, peers)
	}
	if wanted.Executable {
		line = append(line, c.executable(ctx, s, peers))
	}
	if wanted.Times && s.Dead {
		if ended := s.ended(ctx); !ended.IsZero() {
			line = append(line, slog.Time("ended_at", ended))
		}
	}
	return line, container
}

// isDue reports whether there is to be a line about the container of a process.
func (c *Collector) isDue(p process.Event, interval time.Duration) bool {
	const most = 1024 // containers that are remembered
	id := p.Cgroup.Container.ID
	if id == "" {
		return false
	}
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if last, ok := c.shown[id]; ok && now.Sub(last) < interval {
		return false
	}
	if len(c.shown) >= most {
		for other, last := range c.shown {
			if now.Sub(last) >= interval {
				delete(c.shown, other)
			}
		}
	}
	if _, ok := c.shown[id]; !ok && len(c.shown) >= most {
		c.dropped.WithLabelValues(partContainer).Inc()
		return false
	}
	c.shown[id] = now
	return true
}

// peers are the processes of a container. They are listed when they are first asked for.
type peers struct {
	inventory Inventory
	of        process.Event
	listed    bool
	all       []process.Event
	open      []*process.Handle
}

func newPeers(inventory Inventory, of process.Event) *peers {
	return &peers{inventory: inventory, of: of}
}

// list returns the processes, the oldest first.
func (p *peers) list() []process.Event {
	if p.listed {
		return p.all
	}
	p.listed = true
	all, err := p.inventory.Processes()
	if err != nil {
		return nil
	}
	id := p.of.Cgroup.Container.ID
	p.all = slices.Clone(slices.DeleteFunc(all, func(e process.Event) bool { // most are of others
		return e.Cgroup.Container.ID != id || e.File == process.FileID{}
	}))
	slices.SortFunc(p.all, func(a, b process.Event) int { return int(a.Start - b.Start) })
	return p.all
}

// handle returns a handle of a process, which close closes.
func (p *peers) handle(of process.Who) (*process.Handle, error) {
	h, err := of.Open()
	if err == nil {
		p.open = append(p.open, h)
	}
	return h, err
}

func (p *peers) close() {
	for _, h := range p.open {
		h.Close()
	}
}
