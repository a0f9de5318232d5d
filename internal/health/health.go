// Package health monitors the progress of the agent's loops, and retries them after
// errors.
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

// ErrPermanent is wrapped by an error after which a loop cannot continue, because its source of
// events in the kernel is gone. Retry retries after any other error.
var ErrPermanent = errors.New("cannot continue")

// DefaultLimit is the time limit for one iteration of a loop, after which the agent is
// unhealthy, unless the loop needs more. It is long, so that a busy node does not cause
// restarts.
const DefaultLimit = time.Minute

// minPause and maxPause bound the pause after an error, which doubles with each one. It
// starts again at minPause after a run that took longer than maxPause.
const minPause, maxPause = 100 * time.Millisecond, 30 * time.Second

// A Monitor checks loops. It is safe for concurrent use. The loops of a nil Monitor are
// nil.
type Monitor struct {
	log     *slog.Logger
	errors  *prometheus.CounterVec
	overdue *prometheus.Desc

	mu     sync.Mutex
	loops  map[*Loop]bool
	failed []error // components that cannot be restarted
}

// NewMonitor returns a monitor that logs the errors of its loops.
func NewMonitor(log *slog.Logger) *Monitor {
	return &Monitor{
		log: log,
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cryptnono_loop_errors_total",
			Help: "Errors in the agent's loops. A loop continues or retries after an error.",
		}, []string{"loop"}),
		overdue: prometheus.NewDesc("cryptnono_loop_overdue", "1 if an iteration of the loop has exceeded its time limit, else 0.", []string{"loop"}, nil),
		loops:   make(map[*Loop]bool),
	}
}

// Loop returns a new loop whose iterations may each take atMost. Call End when it ends.
// The name is the value of a label, so there must be few.
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

// SetFailed makes Check return err from now on.
func (m *Monitor) SetFailed(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failed = append(m.failed, err)
}

// Check returns an error that names the overdue loops, with the errors of SetFailed, or nil. It
// does not block.
func (m *Monitor) Check() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	errs := slices.Clone(m.failed)
	for l := range m.loops {
		if age := l.age(); age > l.atMost {
			errs = append(errs, fmt.Errorf("%s: no progress for %d s", l.name, int(age.Seconds())))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// Describe implements prometheus.Collector. It sends nothing, because the set of loops
// changes.
func (m *Monitor) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *Monitor) Collect(ch chan<- prometheus.Metric) {
	m.errors.Collect(ch)
	m.mu.Lock()
	defer m.mu.Unlock()
	overdue := make(map[string]float64) // two loops can have the same name for a moment
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

// A Loop records the progress of a loop. It is safe for concurrent use. The methods of a
// nil Loop do nothing, except Retry.
type Loop struct {
	monitor  *Monitor
	name     string
	atMost   time.Duration
	made     time.Time
	progress atomic.Int64 // time of the last progress, in ns since made; 0 while it is idle
}

// Progress records the start of an iteration, or progress in it. The time limit starts again.
func (l *Loop) Progress() {
	if l != nil {
		l.progress.Store(max(int64(time.Since(l.made)), 1))
	}
}

// Idle records the end of an iteration. The loop can then wait for an event without limit.
func (l *Loop) Idle() {
	if l != nil {
		l.progress.Store(0)
	}
}

// End removes the loop from its monitor.
func (l *Loop) End() {
	if l != nil {
		l.monitor.mu.Lock()
		defer l.monitor.mu.Unlock()
		delete(l.monitor.loops, l)
	}
}

func (l *Loop) age() time.Duration {
	if at := l.progress.Load(); at != 0 {
		return time.Since(l.made) - time.Duration(at)
	}
	return 0
}

// Failed counts and logs an error after which the loop continues without a pause.
func (l *Loop) Failed(err error) {
	if l != nil {
		l.monitor.errors.WithLabelValues(l.name).Inc()
		l.monitor.log.Error("loop iteration failed", "loop", l.name, "err", err)
	}
}

// Retry calls run until it returns nil or ctx ends. It returns an error that wraps
// ErrPermanent. After any other error it calls run again, after a pause that doubles from
// 100 ms up to 30 s.
func (l *Loop) Retry(ctx context.Context, run func() error) error {
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		began := time.Now()
		err := run()
		l.Idle()
		switch {
		case err == nil || ctx.Err() != nil:
			return nil //nolint:nilerr // errors during shutdown are expected
		case errors.Is(err, ErrPermanent):
			l.Failed(err)
			return err
		}
		l.Failed(err)
		if time.Since(began) > maxPause {
			pause = minPause
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}
