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
)

// detectors are those that the policy enables. Its methods may be called at once, but for
// apply and reload. Each detector fails alone: the others continue.
type detectors struct {
	kinds  []detector.Kind
	shared *shared

	mu      sync.RWMutex
	enabled map[string]*enabled
}

func newDetectors(kinds []detector.Kind, s *shared) *detectors {
	return &detectors{
		kinds:   kinds,
		shared:  s,
		enabled: make(map[string]*enabled),
	}
}

// enabled is a detector that should be at work.
type enabled struct {
	detector.Detector // nil if it could not be loaded
	stop              context.CancelFunc
	ended             chan struct{} // closed when Run has returned
	// Why it is not at work: it has failed, or this machine does not support it. Under
	// detectors.mu.
	failed, unsupported error
}

// isAtWork is for holders of detectors.mu.
func (e *enabled) isAtWork() bool { return e.failed == nil && e.unsupported == nil }

// apply gives each detector its policy. What is enabled now is loaded, and run in
// group; what is not any more is closed. A detector that this machine does not support is
// left out with a warning, one that cannot be loaded is loaded again later. The error says
// that no detector is at work, or that one refuses the policy.
func (d *detectors) apply(ctx context.Context, group *errgroup.Group, p *Policy) error {
	var lacks []error
	for _, k := range d.kinds {
		d.mu.RLock()
		e := d.enabled[k.Name]
		missing := e == nil || !e.isAtWork()
		d.mu.RUnlock()
		var err error
		switch wanted := p.Detectors[k.Name].IsEnabled(); {
		case !wanted && e == nil:
		case !wanted:
			err = d.end(k.Name)
		case missing:
			lacks = append(lacks, d.load(ctx, group, k, p))
		default:
			err = e.Apply(p.of(k))
		}
		if err != nil {
			return fmt.Errorf("applying the policy to %s: %w", k.Name, err)
		}
	}
	if len(d.names()) == 0 {
		return errors.Join(append([]error{errors.New("no detector is at work")}, lacks...)...)
	}
	return nil
}

// load loads a detector and starts it, in the place of one that has failed.
func (d *detectors) load(ctx context.Context, group *errgroup.Group, k detector.Kind, p *Policy) error {
	loaded, err := k.Load(d.shared.Env, p.of(k))
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		d.shared.Log.Warn("detector not supported here", "detector", k.Name, "err", err)
		return d.leaveOut(k.Name, &enabled{unsupported: err})
	case err != nil:
		err = fmt.Errorf("loading %s: %w", k.Name, err)
		d.shared.Log.Error("detector not at work", "detector", k.Name, "err", err)
		return d.leaveOut(k.Name, &enabled{failed: err})
	}
	err = d.end(k.Name)
	d.start(ctx, group, k.Name, loaded)
	return err
}

// leaveOut notes why a detector could not be loaded, and returns that.
func (d *detectors) leaveOut(name string, e *enabled) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.enabled[name] == nil { // otherwise one that has failed is still to be closed
		d.enabled[name] = e
	}
	return errors.Join(e.failed, e.unsupported)
}

// reload loads the detectors that have failed.
func (d *detectors) reload(ctx context.Context, group *errgroup.Group, p *Policy) {
	for _, k := range d.kinds {
		d.mu.RLock()
		e := d.enabled[k.Name]
		failed := e != nil && e.failed != nil
		d.mu.RUnlock()
		if failed && d.load(ctx, group, k, p) == nil {
			d.shared.Log.Info("detector at work again", "detector", k.Name)
		}
	}
}

func (d *detectors) start(ctx context.Context, group *errgroup.Group, name string, loaded detector.Detector) {
	ctx, stop := context.WithCancel(ctx)
	e := &enabled{Detector: loaded, stop: stop, ended: make(chan struct{})}
	d.mu.Lock()
	d.enabled[name] = e
	d.mu.Unlock()
	group.Go(func() error {
		defer close(e.ended)
		err := loaded.Run(ctx)
		if ctx.Err() != nil {
			return err
		}
		return d.fail(name, e, err)
	})
}

// fail notes that a detector has ended by itself. The error says that none is left.
func (d *detectors) fail(name string, e *enabled, err error) error {
	if err == nil {
		err = errors.New("it ended without an error")
	}
	d.shared.Log.Error("detector ended", "detector", name, "err", err)
	d.mu.Lock()
	e.failed = fmt.Errorf("detector %s ended: %w", name, err)
	d.mu.Unlock()
	if len(d.names()) > 0 {
		return nil
	}
	return fmt.Errorf("no detector is at work any more: %s: %w", name, err)
}

// ready returns nil, or says which detectors are not at work.
func (d *detectors) ready() error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(d.enabled)) {
		errs = append(errs, d.enabled[name].failed)
	}
	return errors.Join(errs...)
}

// end waits for the end of a detector, if there is one, and detaches it from the kernel.
func (d *detectors) end(name string) error {
	d.mu.Lock()
	e := d.enabled[name]
	delete(d.enabled, name)
	d.mu.Unlock()
	if e == nil || e.Detector == nil {
		return nil
	}
	e.stop()
	<-e.ended
	return e.Close()
}

// close ends all detectors.
func (d *detectors) close() error {
	var errs []error
	for _, k := range d.kinds {
		errs = append(errs, d.end(k.Name))
	}
	return errors.Join(errs...)
}

// names returns those at work.
func (d *detectors) names() []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(d.enabled)), func(name string) bool { return !d.enabled[name].isAtWork() })
}

// status says in a line what is at work.
func (d *detectors) status() string { return "protects with " + strings.Join(d.names(), ", ") }

// Describe implements prometheus.Collector. It sends nothing, because detectors come
// and go.
func (d *detectors) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (d *detectors) Collect(ch chan<- prometheus.Metric) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	state := func(metric, help, name string, holds bool) {
		value := 0.0
		if holds {
			value = 1
		}
		desc := prometheus.NewDesc("cryptnono_detector_"+metric, help, []string{"detector"}, nil)
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, name)
	}
	for name, e := range d.enabled {
		state("up", "Whether an enabled detector is at work.", name, e.isAtWork())
		state("unsupported", "Whether an enabled detector is off because this machine does not support it.", name, e.unsupported != nil)
		if e.Detector != nil {
			e.Collector().Collect(ch)
		}
	}
}
