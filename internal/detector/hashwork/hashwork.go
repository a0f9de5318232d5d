// Package hashwork detects miners by what computes.
//
// A clock samples the registers of running threads (clock.bpf.c). A process that has computed for
// some time is examined: the rule program searches the executed file for the words of miners,
// scratchpad and unmasked look for the memory accesses of CryptoNight, and memoryHard for the code of
// argon2 and yescrypt. docs/hashwork.md describes them.
package hashwork

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// Name is the detector's name in settings, logs and metrics.
const Name = "hashwork"

const (
	// drainInterval is the time between two reads of the ring buffer.
	drainInterval = 500 * time.Millisecond
	// refreshInterval is the time between two searches for new CPUs and for programs that no
	// longer compute.
	refreshInterval = 10 * time.Second
)

// A policy is a detector.Policy with the settings of this detector.
type policy struct {
	detector.Policy
	settings *Settings // of Policy
}

func policyOf(p detector.Policy) (*policy, error) {
	s, ok := p.Settings.(*Settings)
	if !ok {
		return nil, fmt.Errorf("settings of type %T", p.Settings)
	}
	return &policy{p, s}, nil
}

// kills reports whether miners are killed and not only logged.
func (p *policy) kills() bool { return !p.Observe && p.settings.Action == rules.Kill }

// A Detector implements detector.Detector.
type Detector struct {
	sampler
	policy   atomic.Pointer[policy]
	metrics  *metrics
	verdicts *verdicts
	busy     *busyCounter
	learned  *learner
	health   *health.Monitor
}

// Load loads the kernel program and starts the clock.
func Load(e detector.Env, p detector.Policy) (*Detector, error) {
	d := &Detector{health: e.Health}
	d.metrics = newMetrics(d.kernelCounts)
	d.busy = newBusy()
	var err error
	if d.learned, err = newLearner(e); err != nil {
		return nil, err
	}
	d.metrics.learned = d.learned
	d.verdicts = newVerdicts(e, d.metrics, d.learned)
	if err = d.open(); err == nil {
		err = d.Apply(p)
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Apply replaces the policy.
func (d *Detector) Apply(p detector.Policy) error {
	its, err := policyOf(p)
	if err != nil {
		return err
	}
	if err := d.clock.set(its.settings.SampleRate); err != nil {
		return err
	}
	if err := d.learned.apply(its); err != nil {
		return err
	}
	d.policy.Store(its)
	return nil
}

// Collector returns the detector's metrics.
func (d *Detector) Collector() prometheus.Collector { return d.metrics }

// Run evaluates samples and carries out verdicts until ctx ends. It may be called once.
func (d *Detector) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.verdicts.run(ctx) })
	g.Go(func() error { return d.learned.run(ctx) })
	g.Go(func() error {
		loop := d.health.Loop(Name+" samples", health.DefaultLimit)
		defer loop.End()
		return loop.Retry(ctx, func() error { return d.readSamples(ctx, loop) })
	})
	return g.Wait()
}

func (d *Detector) readSamples(ctx context.Context, loop *health.Loop) error {
	drain, refresh := time.NewTicker(drainInterval), time.NewTicker(refreshInterval)
	defer drain.Stop()
	defer refresh.Stop()
	p := d.policy.Load()
	t := newTracker(p.settings.interval())
	t.locate = d.verdicts.Inventory.Locate
	for {
		loop.Idle()
		select {
		case <-ctx.Done():
			return nil
		case <-refresh.C:
			t.sweep(process.Monotonic())
			if err := d.clock.refresh(); err != nil {
				return fmt.Errorf("starting the clock again: %w", err)
			}
			for _, j := range d.busy.count(t, p, process.Monotonic()) {
				d.verdicts.queue.Put(j) // without room for it, it is checked later
			}
		case <-drain.C:
		}
		loop.Progress()
		if now := d.policy.Load(); now != p {
			p = now
			t.apply(p.settings.interval())
		}
		if err := d.drain(t, p, loop); err != nil {
			return err
		}
		d.metrics.programs.Set(float64(t.programs.Len()))
	}
}

// drain takes all samples from the ring buffer, and queues the programs that are due.
func (d *Detector) drain(t *tracker, p *policy, loop *health.Loop) error {
	err := d.take(loop, func(x sample) {
		if j, due := t.add(x); due {
			j.policy = p
			d.verdicts.put(j)
		}
	})
	if err != nil {
		return err
	}
	for j := range t.dueByGroup {
		j.policy = p
		d.verdicts.put(j)
	}
	return nil
}

// Close stops the clock and frees all resources of Load. It does not wait for Run.
func (d *Detector) Close() error { return errors.Join(d.learned.close(), d.close()) }
