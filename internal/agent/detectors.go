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
	name string
	load func(*shared, *Policy) (loaded, error)
}

// loaded is a detector at work, and how it is given another policy.
type loaded struct {
	detector.Detector
	apply func(*Policy) error
}

// sources returns all detectors there are.
func sources() []source {
	return []source{
		{execwhacker.Name, loadExecwhacker},
		{monero.Name, loadMonero},
	}
}

func loadExecwhacker(s *shared, p *Policy) (loaded, error) {
	policy := func(p *Policy) execwhacker.Policy {
		return execwhacker.Policy{Matcher: p.Matcher, ScanInterval: p.ScanInterval, LogEnv: p.LogEnv}
	}
	d, err := execwhacker.Load(execwhacker.Options{
		Policy: policy(p), Env: s.Env,
	})
	return loaded{d, func(p *Policy) error { return d.Apply(policy(p)) }}, err
}

func loadMonero(s *shared, p *Policy) (loaded, error) {
	policy := func(p *Policy) monero.Policy {
		set := p.Detectors[monero.Name].(*monero.Settings)
		return monero.Policy{
			Kill:                      p.Action == rules.Kill && set.Action == rules.Kill,
			KillWithoutMemoryEvidence: set.KillWithoutMemoryEvidence,
			Thresholds:                set.Thresholds,
			Matcher:                   p.Matcher,
			LogEnv:                    p.LogEnv,
		}
	}
	d, err := monero.Load(monero.Options{
		Policy: policy(p), Env: s.Env,
	})
	return loaded{d, func(p *Policy) error { return d.Apply(policy(p)) }}, err
}

// detectors are those at work. Its methods may be called at once, but for apply.
type detectors struct {
	shared *shared
	up     *prometheus.Desc

	mu      sync.RWMutex
	running map[string]*running
}

func newDetectors(s *shared) *detectors {
	return &detectors{
		shared:  s,
		up:      prometheus.NewDesc("cryptnono_detector_up", "Whether a detector that was loaded is still at work.", []string{"detector"}, nil),
		running: make(map[string]*running),
	}
}

// running is a detector whose Run is called.
type running struct {
	loaded
	stop   context.CancelFunc
	ended  chan struct{} // closed when Run has returned
	failed error         // with which it did, though nobody wanted that; under detectors.mu
}

// apply gives each detector its policy. What is enabled now is loaded, and run in
// group; what is not any more is closed. A detector that this machine cannot run is
// left out with a warning.
func (d *detectors) apply(ctx context.Context, group *errgroup.Group, p *Policy) error {
	var unsupported error
	for _, s := range sources() {
		d.mu.Lock()
		r := d.running[s.name]
		failed := r != nil && r.failed != nil
		d.mu.Unlock()
		enabled := p.Detectors[s.name].IsEnabled()
		switch {
		case failed && enabled:
			if err := d.revive(ctx, group, s, p); err != nil {
				return err
			}
		case r == nil && enabled:
			l, err := s.load(d.shared, p)
			if errors.Is(err, errors.ErrUnsupported) {
				d.shared.Log.Warn("detector not supported here", "detector", s.name, "err", err)
				unsupported = errors.Join(unsupported, err)
				continue
			} else if err != nil {
				return err
			}
			d.start(ctx, group, s.name, l)
		case r != nil && enabled:
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

// revive puts a new one in the place of a detector that has ended.
func (d *detectors) revive(ctx context.Context, group *errgroup.Group, s source, p *Policy) error {
	l, err := s.load(d.shared, p)
	if err != nil {
		return fmt.Errorf("loading %s again: %w", s.name, err)
	}
	d.mu.Lock()
	old := d.running[s.name]
	d.mu.Unlock()
	err = d.end(s.name, old)
	d.start(ctx, group, s.name, l)
	d.shared.Log.Info("detector at work again", "detector", s.name)
	return err
}

// reviveAll revives the detectors that have ended.
func (d *detectors) reviveAll(ctx context.Context, group *errgroup.Group, p *Policy) {
	for _, s := range sources() {
		d.mu.RLock()
		r := d.running[s.name]
		ended := r != nil && r.failed != nil
		d.mu.RUnlock()
		if ended {
			if err := d.revive(ctx, group, s, p); err != nil {
				d.shared.Log.Error("detector not at work again", "detector", s.name, "err", err)
			}
		}
	}
}

func (d *detectors) start(ctx context.Context, group *errgroup.Group, name string, l loaded) {
	ctx, stop := context.WithCancel(ctx)
	r := &running{loaded: l, stop: stop, ended: make(chan struct{})}
	d.mu.Lock()
	d.running[name] = r
	d.mu.Unlock()
	group.Go(func() error {
		defer close(r.ended)
		err := l.Run(ctx)
		if ctx.Err() != nil {
			return err
		}
		return d.fail(name, r, err)
	})
}

// fail takes down that a detector has ended though nobody wanted that. The others go on;
// the error says that none is left.
func (d *detectors) fail(name string, r *running, err error) error {
	if err == nil {
		err = errors.New("it ended without an error")
	}
	d.shared.Log.Error("detector ended", "detector", name, "err", err)
	d.mu.Lock()
	defer d.mu.Unlock()
	r.failed = err
	for _, r := range d.running {
		if r.failed == nil {
			return nil
		}
	}
	return fmt.Errorf("no detector is at work any more: %s: %w", name, err)
}

// ready returns nil, or says which detectors have ended.
func (d *detectors) ready() error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(d.running)) {
		if err := d.running[name].failed; err != nil {
			errs = append(errs, fmt.Errorf("detector %s ended: %w", name, err))
		}
	}
	return errors.Join(errs...)
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
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(d.running)), func(name string) bool { return d.running[name].failed != nil })
}

// status says in a line what is at work.
func (d *detectors) status() string { return "protects with " + strings.Join(d.names(), ", ") }

// Describe implements prometheus.Collector. It tells nothing, since detectors come
// and go.
func (d *detectors) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (d *detectors) Collect(ch chan<- prometheus.Metric) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for name, r := range d.running {
		up := 1.0
		if r.failed != nil {
			up = 0
		}
		ch <- prometheus.MustNewConstMetric(d.up, prometheus.GaugeValue, up, name)
		r.Collector().Collect(ch)
	}
}
