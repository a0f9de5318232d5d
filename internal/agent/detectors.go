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

// detectors runs the detectors that the policy enables. A failed detector does not affect
// the others. Methods are safe for concurrent use, except apply, undo and reload.
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

// enabled is a detector that the policy enables.
type enabled struct {
	detector.Detector // nil if it could not be loaded
	stop              context.CancelFunc
	ended             chan struct{} // closed when Run has returned
	// Why it is not running: it has failed, or this machine does not support it. Under
	// detectors.mu.
	failed, unsupported error
}

// running requires detectors.mu.
func (e *enabled) running() bool { return e.failed == nil && e.unsupported == nil }

// apply gives each detector its policy. It loads newly enabled detectors and runs them in
// group, and closes those that are no longer enabled. A detector that this machine does
// not support is skipped with a warning; one that fails to load is retried by reload. The
// error means that no detector is running, or that one refuses the policy; then those after it
// keep theirs.
func (d *detectors) apply(ctx context.Context, group *errgroup.Group, p *Policy) error {
	var notLoaded []error
	for _, k := range d.kinds {
		loading, err := d.applyTo(ctx, group, k, p)
		if err != nil {
			return err
		}
		notLoaded = append(notLoaded, loading)
	}
	return d.anyRuns(notLoaded)
}

// undo is apply with the policy before, after an error of apply. One that refuses it, for lack of memory
// perhaps, does not keep it from those after it: they would keep a policy that is not said to be in effect.
func (d *detectors) undo(ctx context.Context, group *errgroup.Group, old *Policy) error {
	var notLoaded, errs []error
	for _, k := range d.kinds {
		loading, err := d.applyTo(ctx, group, k, old)
		notLoaded, errs = append(notLoaded, loading), append(errs, err)
	}
	return errors.Join(append(errs, d.anyRuns(notLoaded))...)
}

// applyTo does what apply does for one detector. An error in loading it is another one.
func (d *detectors) applyTo(ctx context.Context, group *errgroup.Group, k detector.Kind, p *Policy) (loading, err error) {
	d.mu.RLock()
	e := d.enabled[k.Name]
	missing := e == nil || !e.running()
	d.mu.RUnlock()
	switch wanted := p.Detectors[k.Name].IsEnabled(); {
	case !wanted && e == nil:
	case !wanted:
		err = d.end(k.Name)
	case missing:
		loading = d.load(ctx, group, k, p)
	default:
		err = e.Apply(p.forDetector(k))
	}
	if err != nil {
		err = fmt.Errorf("applying the policy to %s: %w", k.Name, err)
	}
	return loading, err
}

// anyRuns returns an error if no detector is running, with the reasons.
func (d *detectors) anyRuns(notLoaded []error) error {
	if len(d.names()) > 0 {
		return nil
	}
	return errors.Join(append([]error{errors.New("no detector is running")}, notLoaded...)...)
}

// load loads a detector and starts it. It replaces a failed one.
func (d *detectors) load(ctx context.Context, group *errgroup.Group, k detector.Kind, p *Policy) error {
	loaded, err := k.Load(d.shared.Env, p.forDetector(k))
	switch {
	case errors.Is(err, detector.ErrUnsupported):
		d.shared.Log.Warn("detector not supported here", "detector", k.Name, "err", err)
		return d.skip(k.Name, &enabled{unsupported: err})
	case err != nil:
		err = fmt.Errorf("loading %s: %w", k.Name, err)
		d.shared.Log.Error("detector not loaded", "detector", k.Name, "err", err)
		return d.skip(k.Name, &enabled{failed: err})
	}
	if err := d.end(k.Name); err != nil {
		d.shared.Log.Error("failed detector not closed", "detector", k.Name, "err", err)
	}
	d.start(ctx, group, k.Name, loaded)
	return nil
}

// skip records a detector that could not be loaded, and returns the reason.
func (d *detectors) skip(name string, e *enabled) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.enabled[name] == nil { // else a failed one, which must still be closed
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
			d.shared.Log.Info("detector loaded again", "detector", k.Name)
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

// fail records that a detector has ended by itself. It returns an error if no detector
// is running now.
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
	return fmt.Errorf("no detector is running any longer: %s: %w", name, err)
}

// ready returns an error that names the failed detectors, or nil.
func (d *detectors) ready() error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(d.enabled)) {
		errs = append(errs, d.enabled[name].failed)
	}
	return errors.Join(errs...)
}

// end stops a detector, if there is one, and detaches it from the kernel.
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

// names returns the sorted names of the running detectors.
func (d *detectors) names() []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(d.enabled)), func(name string) bool { return !d.enabled[name].running() })
}

// wanted returns the sorted names of the detectors that the policy enables.
func (d *detectors) wanted() []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.Sorted(maps.Keys(d.enabled))
}

// status returns one line for `systemctl status`.
func (d *detectors) status() string { return "running: " + strings.Join(d.names(), ", ") }

// Describe implements prometheus.Collector. It sends nothing, because the set of metrics
// changes with the detectors.
func (d *detectors) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (d *detectors) Collect(ch chan<- prometheus.Metric) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	send := func(metric, help, name string, state bool) {
		value := 0.0
		if state {
			value = 1
		}
		desc := prometheus.NewDesc("cryptnono_detector_"+metric, help, []string{"detector"}, nil)
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, name)
	}
	for name, e := range d.enabled {
		send("up", "1 if the enabled detector is running, else 0.", name, e.running())
		send("unsupported", "1 if the enabled detector is not supported on this machine, else 0.", name, e.unsupported != nil)
		if e.Detector != nil {
			e.Collector().Collect(ch)
		}
	}
}
