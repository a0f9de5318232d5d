// Package health knows whether the loops of the agent still turn, and has a loop go on
// after an error.
package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ErrOver is wrapped by an error after which a loop cannot go on, because what it reads
// from the kernel is gone. Any other error is one of this turn.
var ErrOver = errors.New("it cannot go on")

// TurnAtMost is how long a turn of a loop may take before the agent is taken for ill, where
// it is not known to take longer. It is generous: a busy node is no reason to start the
// agent anew.
const TurnAtMost = time.Minute

const (
	// firstPause is the pause after a first error. It doubles up to lastPause, and is
	// forgotten after a turn that was longer than that.
	firstPause, lastPause = 100 * time.Millisecond, 30 * time.Second
)

// A Monitor asks the loops. It is safe for concurrent use. Of a nil Monitor all loops
// are nil.
type Monitor struct {
	log     *slog.Logger
	errors  *prometheus.CounterVec
	overdue *prometheus.Desc

	mu    sync.Mutex
	loops map[*Loop]bool
	over  []error // what has ended for good
}

// NewMonitor returns a monitor of no loops, which logs their errors.
func NewMonitor(log *slog.Logger) *Monitor {
	return &Monitor{
		log: log,
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cryptnono_loop_errors_total",
			Help: "Errors of the agent's loops, after which they went on, or tried again.",
		}, []string{"loop"}),
		overdue: prometheus.NewDesc("cryptnono_loop_overdue", "Whether a loop of the agent takes longer for one turn than it may.", []string{"loop"}, nil),
		loops:   make(map[*Loop]bool),
	}
}

// Loop returns a new loop, each turn of which may take so long. It is to be ended. The
// name must be one of few: it is a label.
func (m *Monitor) Loop(name string, atMost time.Duration) *Loop {
	if m == nil {
		return nil
	}
	l := &Loop{monitor: m, name: name, atMost: atMost, made: time.Now()}
	m.errors.WithLabelValues(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.loops[l] = true
	return l
}

// Over has Check return an error from now on.
func (m *Monitor) Over(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over = append(m.over, err)
}

// Check returns nil, or an error that names the loops that are overdue and what has
// ended. It does not wait for any loop.
func (m *Monitor) Check() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	errs := slices.Clone(m.over)
	for l := range m.loops {
		if age := l.age(); age > l.atMost {
			errs = append(errs, fmt.Errorf("%s: last turn %d s ago", l.name, int(age.Seconds())))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// Describe implements prometheus.Collector. It tells nothing, since loops come and go.
func (m *Monitor) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *Monitor) Collect(ch chan<- prometheus.Metric) {
	m.errors.Collect(ch)
	m.mu.Lock()
	defer m.mu.Unlock()
	overdue := make(map[string]float64) // there may be two of a name for a moment
	for l := range m.loops {
		overdue[l.name] = max(overdue[l.name], 0)
		if l.age() > l.atMost {
			overdue[l.name] = 1
		}
	}
	for name, value := range overdue {
		ch <- prometheus.MustNewConstMetric(m.overdue, prometheus.GaugeValue, value, name)
	}
}

// A Loop is one that marks its turns. Its methods may be called at once, and of a nil
// Loop do nothing.
type Loop struct {
	monitor *Monitor
	name    string
	atMost  time.Duration
	made    time.Time
	turned  atomic.Int64 // ns since made, 0 while it rests
}

// Turn marks that a turn begins, or has come a step further: from now on it may take as
// long again.
func (l *Loop) Turn() {
	if l != nil {
		l.turned.Store(max(int64(time.Since(l.made)), 1))
	}
}

// Rest marks that a turn is done: the loop waits for the next event or for a time, and
// may do so for ever.
func (l *Loop) Rest() {
	if l != nil {
		l.turned.Store(0)
	}
}

// End has the monitor forget the loop.
func (l *Loop) End() {
	if l != nil {
		l.monitor.mu.Lock()
		defer l.monitor.mu.Unlock()
		delete(l.monitor.loops, l)
	}
}

func (l *Loop) age() time.Duration {
	if at := l.turned.Load(); at != 0 {
		return time.Since(l.made) - time.Duration(at)
	}
	return 0
}

// Failed counts and logs an error of a turn after which the loop goes on at once.
func (l *Loop) Failed(err error) {
	if l != nil {
		l.monitor.errors.WithLabelValues(l.name).Inc()
		l.monitor.log.Error("turn of a loop failed", "loop", l.name, "err", err)
	}
}

// Retry calls run until it returns nil, an error that wraps ErrOver, which Retry
// returns, or anything after the end of ctx. After any other error it calls run again,
// after a pause that doubles from 100 ms up to 30 s.
func (l *Loop) Retry(ctx context.Context, run func() error) error {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		began := time.Now()
		err := run()
		l.Rest()
		switch {
		case err == nil || ctx.Err() != nil:
			return nil //nolint:nilerr // what failed at the end has ended
		case errors.Is(err, ErrOver):
			l.Failed(err)
			return err
		}
		l.Failed(err)
		if time.Since(began) > lastPause {
			pause = firstPause
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}
