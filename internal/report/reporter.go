package report

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/cryptnono/cryptnono/internal/container"
	"github.com/cryptnono/cryptnono/internal/process"
)

const (
	// queueLength is how many verdicts wait for names. Those beyond are written
	// without.
	queueLength = 512
	// maxLookups is for how many names are asked at once, and lookupTimeout for how
	// long.
	maxLookups    = 8
	lookupTimeout = 2 * time.Second
	lastTimeout   = 500 * time.Millisecond // for all that wait at the end
	// textLimit is the length in bytes of a name in the log.
	textLimit = 1024
)

// Containers know the names of the container that a cgroup belongs to.
// *container.Resolver does.
type Containers interface {
	Cached(cgroup string) (*container.Container, bool)
	Lookup(ctx context.Context, cgroup string) (*container.Container, error)
}

// A Reporter writes verdicts. It is safe for concurrent use if its handler is,
// as slog's are.
type Reporter struct {
	log        *slog.Logger
	node       string
	containers Containers
	queue      chan Verdict
}

// New returns a reporter that writes to log, with the name of this node and the
// names that containers knows. Both may be zero.
func New(log *slog.Logger, node string, containers Containers) *Reporter {
	return &Reporter{log: log, node: node, containers: containers, queue: make(chan Verdict, queueLength)}
}

// Report writes one line: at once if the names of the container are known, otherwise
// when they are, for which Run must be at work. It never waits.
func (r *Reporter) Report(v Verdict) {
	if r.containers == nil {
		r.write(v, nil)
		return
	}
	if c, known := r.containers.Cached(v.Cgroup); known {
		r.write(v, c)
		return
	}
	select {
	case r.queue <- v:
	default:
		r.write(v, nil)
	}
}

// Run asks for names until ctx ends, and for half a second more for those that are
// still waited for. No verdict may be reported later.
func (r *Reporter) Run(ctx context.Context) error {
	asking, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(lastTimeout, end) })
	defer stop()
	var workers sync.WaitGroup
	for range maxLookups {
		workers.Go(func() { r.work(ctx, asking) })
	}
	workers.Wait()
	return nil
}

// work writes what waits, until ctx has ended and nothing does.
func (r *Reporter) work(ctx, asking context.Context) {
	for {
		select {
		case v := <-r.queue:
			r.lookUp(asking, v)
			continue
		case <-ctx.Done():
		}
		select {
		case v := <-r.queue:
			r.lookUp(asking, v)
		default:
			return
		}
	}
}

func (r *Reporter) lookUp(ctx context.Context, v Verdict) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	c, err := r.containers.Lookup(ctx, v.Cgroup)
	if err != nil {
		c = nil // the line tells the cgroup
	}
	r.write(v, c)
}

func (r *Reporter) write(v Verdict, c *container.Container) {
	attrs := v.attrs()
	if c != nil {
		attrs = append(attrs, names(c)...)
	}
	attrs = appendText(attrs, "node", r.node)
	r.log.LogAttrs(context.Background(), slog.LevelInfo, messages[v.Action], attrs...) //nolint:sloglint // constant in messages
}

// names returns a container's part of the line.
func names(c *container.Container) []slog.Attr {
	attrs := appendText(nil, "container_id", c.ID, "container", printable(c.Name), "image", printable(c.Image),
		"pod", printable(c.Pod), "namespace", printable(c.Namespace))
	if len(c.Labels) > 0 {
		labels := make(map[string]string, len(c.Labels))
		for key, value := range c.Labels {
			labels[printable(key)] = printable(value)
		}
		attrs = append(attrs, slog.Any("labels", labels))
	}
	if c.Inner != nil {
		attrs = append(attrs, slog.GroupAttrs("inner", names(c.Inner)...))
	}
	return attrs
}

func printable(text string) string { return process.Printable([]byte(text), textLimit) }
