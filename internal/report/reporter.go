package report

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/container"
	"github.com/cryptnono/cryptnono/internal/health"
)

// expireInterval is the time between two looks for windows that have ended.
const expireInterval = time.Second

// Containers know containers by name. *container.Resolver does.
type Containers interface {
	Cached(ref cgroup.ContainerRef) (*container.Container, bool)
	Lookup(ctx context.Context, ref cgroup.ContainerRef) (*container.Container, error)
}

// A Reporter writes verdicts. It is safe for concurrent use. No method but Run waits
// for anybody, if the output of its log does not: see Writer.
type Reporter struct {
	log        *slog.Logger
	node       string
	containers Containers
	suppressed prometheus.Counter
	names      *lookups

	mu     sync.Mutex
	limits *limits // nil: none
	lines  *Lines
	named  map[*container.Container][]slog.Attr
}

// New returns a reporter that writes to log, with the name of this node and the
// names that containers knows. Both may be zero.
func New(log *slog.Logger, node string, containers Containers) *Reporter {
	return &Reporter{
		log: log, node: node, containers: containers,
		suppressed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "cryptnono_verdict_lines_suppressed_total",
			Help: "Verdicts without a log line of their own, because there were many equal ones on one container or user; a line tells how many.",
		}),
		names: newLookups(), named: make(map[*container.Container][]slog.Attr),
	}
}

// Limit has equal verdicts on one owner written ten times a minute at most, and then
// counted in a line of their own; and has Run write the summaries of lines as well. It
// is for one call, before the first Report.
func (r *Reporter) Limit(lines *Lines) {
	r.limits, r.lines, r.names.most = newLimits(), lines, limitedWaiting
}

// Collector returns the reporter's metrics.
func (r *Reporter) Collector() prometheus.Collector { return r.suppressed }

// Report writes one line, unless there were too many: at once if the names of the
// container are known, otherwise when they are.
func (r *Reporter) Report(v Verdict) {
	whole := true
	if r.limits != nil {
		r.mu.Lock()
		written, all, summary := r.limits.admit(time.Now(), &v)
		r.mu.Unlock()
		whole = all
		if summary.suppressed > 0 {
			r.put(summary)
		}
		if !written {
			r.suppressed.Inc()
			return
		}
	}
	r.put(v.line(whole))
}

// put writes a line, now or when the names of its container are known.
func (r *Reporter) put(v Verdict) {
	if r.containers == nil || !v.Cgroup.Container.Contained() {
		r.write(v, nil)
		return
	}
	if c, known := r.containers.Cached(v.Cgroup.Container); known {
		r.write(v, c)
		return
	}
	asked := r.names.ask(v.Cgroup.Owner, func(ctx context.Context) {
		c, err := r.containers.Lookup(ctx, v.Cgroup.Container)
		if err != nil {
			c = nil // the line tells the cgroup
		}
		r.write(v, c)
	})
	if !asked {
		r.write(v, nil)
	}
}

// Run writes the summaries of suppressed lines until ctx ends. It returns when all
// lines are written: half a second later at most, without the names that are still
// asked for then. No verdict may be reported later. It marks its turns in loop.
func (r *Reporter) Run(ctx context.Context, loop *health.Loop) error {
	tick := time.NewTicker(expireInterval)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			loop.Turn()
			r.summarize(now)
			loop.Rest()
			continue
		case <-ctx.Done():
		}
		r.summarize(time.Now().Add(window))
		r.names.end(lastTimeout)
		return nil
	}
}

// summarize writes the summaries of windows that ended before a time.
func (r *Reporter) summarize(now time.Time) {
	if r.limits == nil {
		return
	}
	r.mu.Lock()
	summaries := r.limits.expire(now)
	r.mu.Unlock()
	for _, v := range summaries {
		r.put(v)
	}
	r.lines.summarize(now)
}

func (r *Reporter) write(v Verdict, c *container.Container) {
	attrs := v.attrs()
	if c != nil {
		attrs = append(attrs, r.namesOf(c)...)
	}
	attrs = appendText(attrs, "node", r.node)
	r.log.LogAttrs(context.Background(), slog.LevelInfo, v.message(), attrs...) //nolint:sloglint // constant in messages
}
