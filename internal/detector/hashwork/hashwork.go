// Package hashwork detects miners by what computes.
//
// A clock samples the registers of running threads (clock.bpf.c). A process that has computed for
// some time is examined: the rule program searches the executed file for the words of miners, and
// the rule scratchpad looks for the memory accesses of CryptoNight. docs/hashwork.md describes
// both.
package hashwork

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/verdict"
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
	policy   atomic.Pointer[policy]
	objs     bpfObjects
	clock    *clock
	samples  *ringbuf.Reader
	metrics  *metrics
	verdicts *verdicts
	learned  *learner
	health   *health.Monitor
}

// Load loads the kernel program and starts the clock.
func Load(e detector.Env, p detector.Policy) (*Detector, error) {
	d := &Detector{health: e.Health}
	d.metrics = newMetrics(d.kernelCounts)
	var err error
	if d.learned, err = newLearner(e); err != nil {
		return nil, err
	}
	d.metrics.learned = d.learned
	d.verdicts = newVerdicts(e, d.metrics, d.learned)
	if err := d.load(p); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Detector) load(p detector.Policy) (err error) {
	if err := loadBpfObjects(&d.objs, nil); err != nil {
		return fmt.Errorf("loading the hashwork program: %w", err)
	}
	if d.samples, err = ringbuf.NewReader(d.objs.Samples); err != nil {
		return fmt.Errorf("opening the ring buffer of samples: %w", err)
	}
	if d.clock, err = newClock(d.objs.Tick, d.ticks); err != nil {
		return err
	}
	return d.Apply(p)
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

// drain takes all samples from the ring buffer.
func (d *Detector) drain(t *tracker, p *policy, loop *health.Loop) error {
	d.samples.SetDeadline(time.Unix(1, 0)) // what is there is read without waiting
	var record ringbuf.Record
	for {
		err := d.samples.ReadInto(&record)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, ringbuf.ErrClosed) {
			break
		} else if err != nil {
			return fmt.Errorf("reading samples: %w", err)
		}
		x, err := decodeSample(record.RawSample)
		if err != nil {
			loop.Failed(err)
			continue
		}
		if j, due := t.add(x); due {
			j.policy = p
			d.verdicts.put(j)
		}
	}
	for j := range t.dueByGroup {
		j.policy = p
		d.verdicts.put(j)
	}
	return nil
}

// Close stops the clock and frees all resources of Load. It does not wait for Run.
func (d *Detector) Close() error {
	if d.clock != nil {
		d.clock.close()
	}
	var err error
	if d.samples != nil {
		err = d.samples.Close()
	}
	return errors.Join(err, d.learned.close(), d.objs.Close())
}

// ticks returns the number of ticks of each CPU's clock.
func (d *Detector) ticks() ([]uint64, error) {
	var all []uint64
	for which := range bpfCounterCOUNTERS {
		var byCPU []uint64
		if err := d.objs.Counters.Lookup(uint32(which), &byCPU); err != nil {
			return nil, fmt.Errorf("reading the number of ticks: %w", err)
		}
		if all == nil {
			all = make([]uint64, len(byCPU))
		}
		for n, ticks := range byCPU {
			all[n] += ticks
		}
	}
	return all, nil
}

func (d *Detector) kernelCounts() (sampled, lost uint64, err error) {
	sums, err := verdict.ReadCounters(d.objs.Counters, int(bpfCounterCOUNTERS))
	if err != nil {
		return 0, 0, err
	}
	return sums[bpfCounterSAMPLED], sums[bpfCounterLOST_SAMPLE], nil
}
