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
	"github.com/cryptnono/cryptnono/internal/printable"
)

// expireInterval is the time between two checks for windows that have ended.
const expireInterval = time.Second

// Containers returns the names of containers. *runtimes.Resolver implements it.
type Containers interface {
	Cached(ref cgroup.ContainerRef) (*container.Container, bool)
	Lookup(ctx context.Context, ref cgroup.ContainerRef) (*container.Container, error)
}

// A Reporter writes verdicts. It is safe for concurrent use. Only Run blocks, if its log
// does not block: see Writer.
type Reporter struct {
	log, execs *slog.Logger
	node       string
	containers Containers
	suppressed prometheus.Counter
	names      *lookups

	mu     sync.Mutex
	limits *limits // nil for no limits
	lines  *Lines
	named  map[*container.Container][]slog.Attr
}

// New returns a reporter that writes to log, with the name of this node and the names of
// containers. Both can be zero.
func New(log *slog.Logger, node string, containers Containers) *Reporter {
	return &Reporter{
		log: log, execs: log, node: node, containers: containers,
		suppressed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "cryptnono_verdict_lines_suppressed_total",
			Help: "Verdicts without their own log line, because there were many equal ones for one container or user. A summary line has their number.",
		}),
		names: newLookups(), named: make(map[*container.Container][]slog.Attr),
	}
}

// Limit limits equal verdicts for one owner to ten lines a minute and a summary, and makes
// Run write the summaries of lines as well. Call it at most once, before the first Report.
func (r *Reporter) Limit(lines *Lines) {
	r.limits, r.lines, r.names.most = newLimits(), lines, limitedWaiting
}

// LogExecs sets the log for Exec. Call it at most once, before the first Exec.
func (r *Reporter) LogExecs(log *slog.Logger) { r.execs = log }

// Exec writes the line of a program that started, without a limit. It has the names of the
// container if they are cached, because lookups are for verdicts.
func (r *Reporter) Exec(v Verdict) {
	var c *container.Container
	if r.containers != nil && v.Cgroup.Container.Contained() {
		c, _ = r.containers.Cached(v.Cgroup.Container)
	}
	r.write(v.line(true), c)
}

// Collector returns the reporter's metrics.
func (r *Reporter) Collector() prometheus.Collector { return r.suppressed }

// Report writes one line, unless the limit is exceeded. If the names of the container are
// not cached, the line is written after they are looked up.
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

// put writes a line, now or after the names of its container are looked up and evidence is gathered.
func (r *Reporter) put(v Verdict) {
	var c *container.Container
	known := r.containers == nil || !v.Cgroup.Container.Contained()
	if !known {
		c, known = r.containers.Cached(v.Cgroup.Container)
	}
	if known && v.Evidence == nil {
		r.write(v, c)
		return
	}
	queued := r.names.enqueue(v.Cgroup.Owner, func(ctx context.Context) {
		var about []slog.Attr
		switch {
		case v.Evidence == nil:
		case ctx.Err() != nil: // the end
			v.Evidence.Drop()
		default:
			v.evidence, about = v.Evidence.Gather(ctx)
		}
		if !known {
			ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
			defer cancel()
			var err error
			if c, err = r.containers.Lookup(ctx, v.Cgroup.Container); err != nil {
				c = nil // the line still has the cgroup
			}
		}
		r.write(v, c)
		if about != nil {
			r.writeContainer(v, c, about)
		}
	})
	if !queued {
		if v.Evidence != nil {
			v.Evidence.Drop()
		}
		r.write(v, c)
	}
}

// Run writes the summaries of suppressed lines until ctx ends. It returns when all lines
// are written, at most half a second later; lines whose lookup has not ended by then have
// no names. Report must not be called after that. Run records its progress in loop.
func (r *Reporter) Run(ctx context.Context, loop *health.Loop) error {
	tick := time.NewTicker(expireInterval)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			loop.Progress()
			r.summarize(now)
			loop.Idle()
			continue
		case <-ctx.Done():
		}
		r.summarize(time.Now().Add(window))
		r.names.end(lastTimeout)
		return nil
	}
}

// summarize writes the summaries of windows that have ended.
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
	log, level := r.log, slog.LevelInfo
	if v.Action == Started {
		log, level = r.execs, slog.LevelDebug
	}
	attrs := appendText(append(v.attrs(), r.namesOf(v, c)...), "node", r.node)
	log.LogAttrs(context.Background(), level, v.message(), attrs...) //nolint:sloglint // constant in messages
}

// writeContainer writes a line about the container of a process. Such lines give way to others.
func (r *Reporter) writeContainer(v Verdict, c *container.Container, about []slog.Attr) {
	attrs := append([]slog.Attr{slog.Int("of_pid", v.PID), slog.String("cgroup", printable.Text([]byte(v.Cgroup.Path), cgroupLimit))}, about...)
	attrs = appendText(append(attrs, r.namesOf(v, c)...), "node", r.node)
	r.execs.LogAttrs(context.Background(), slog.LevelInfo, "evidence", attrs...)
}
