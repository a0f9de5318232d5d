package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/execwhacker"
	"github.com/cryptnono/cryptnono/internal/detector/monero"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// A source is a detector that there is, and how it is loaded.
type source struct {
	name    string
	enabled func(*Policy) bool
	load    func(*shared, *Policy) (loaded, error)
}

// loaded is a detector at work, and how it is given another policy.
type loaded struct {
	detector.Detector
	apply func(*Policy) error
}

// sources returns all detectors there are.
func sources() []source {
	return []source{
		{execwhacker.Name, func(p *Policy) bool { return p.Execwhacker.Enabled }, loadExecwhacker},
		{monero.Name, func(p *Policy) bool { return p.Monero.Enabled }, loadMonero},
	}
}

func loadExecwhacker(s *shared, p *Policy) (loaded, error) {
	policy := func(p *Policy) execwhacker.Policy {
		return execwhacker.Policy{Matcher: p.Matcher, ScanInterval: p.ScanInterval, LogEnv: p.LogEnv}
	}
	d, err := execwhacker.Load(execwhacker.Options{Policy: policy(p), Guard: s.guard, Report: s.report, Reader: s.reader, Log: s.log})
	return loaded{d, func(p *Policy) error { return d.Apply(policy(p)) }}, err
}

func loadMonero(s *shared, p *Policy) (loaded, error) {
	policy := func(p *Policy) monero.Policy {
		return monero.Policy{
			Kill:               p.Action == rules.Kill && p.Monero.Action == rules.Kill,
			KillUncorroborated: p.Monero.KillUncorroborated,
			Thresholds:         p.Monero.Thresholds,
			Matcher:            p.Matcher,
			LogEnv:             p.LogEnv,
		}
	}
	d, err := monero.Load(monero.Options{Policy: policy(p), Guard: s.guard, Report: s.report, Reader: s.reader, Log: s.log})
	return loaded{d, func(p *Policy) error { return d.Apply(policy(p)) }}, err
}

// detectors are those at work. Its methods may be called at once, but for apply.
type detectors struct {
	shared *shared

	mu      sync.Mutex
	running map[string]*running
}

// running is a detector whose Run is called.
type running struct {
	loaded
	stop  context.CancelFunc
	ended chan struct{} // closed when Run has returned
}

// apply gives each detector its policy. What is enabled now is loaded, and run in
// group; what is not any more is closed. A detector that this machine cannot run is
// left out with a warning.
func (d *detectors) apply(ctx context.Context, group *errgroup.Group, p *Policy) error {
	var unsupported error
	for _, s := range sources() {
		d.mu.Lock()
		r := d.running[s.name]
		d.mu.Unlock()
		switch {
		case r == nil && s.enabled(p):
			l, err := s.load(d.shared, p)
			if errors.Is(err, errors.ErrUnsupported) {
				d.shared.log.Warn("detector not supported here", "detector", s.name, "err", err)
				unsupported = errors.Join(unsupported, err)
				continue
			} else if err != nil {
				return err
			}
			d.start(ctx, group, s.name, l)
		case r != nil && s.enabled(p):
			if err := r.apply(p); err != nil {
				return fmt.Errorf("giving %s another policy: %w", s.name, err)
			}
		case r != nil:
			if err := d.end(s.name, r); err != nil {
				return err
			}
		}
	}
	if len(d.names()) == 0 {
		return errors.Join(errors.New("no detector is at work"), unsupported)
	}
	return nil
}

func (d *detectors) start(ctx context.Context, group *errgroup.Group, name string, l loaded) {
	ctx, stop := context.WithCancel(ctx)
	r := &running{l, stop, make(chan struct{})}
	d.mu.Lock()
	d.running[name] = r
	d.mu.Unlock()
	group.Go(func() error {
		defer close(r.ended)
		return l.Run(ctx)
	})
}

// end waits for the end of a detector, and detaches it from the kernel.
func (d *detectors) end(name string, r *running) error {
	r.stop()
	<-r.ended
	d.mu.Lock()
	delete(d.running, name)
	d.mu.Unlock()
	return r.Close()
}

// close ends all detectors.
func (d *detectors) close() error {
	var errs []error
	for name, r := range d.running {
		errs = append(errs, d.end(name, r))
	}
	return errors.Join(errs...)
}

// names returns those at work.
func (d *detectors) names() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.running))
}

// status says in a line what is at work.
func (d *detectors) status() string { return "protects with " + strings.Join(d.names(), ", ") }

// Describe implements prometheus.Collector. It tells nothing, since detectors come
// and go.
func (d *detectors) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (d *detectors) Collect(ch chan<- prometheus.Metric) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.running {
		r.Collector().Collect(ch)
	}
}
