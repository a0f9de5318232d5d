// Package monero detects miners by their floating-point rounding modes.
//
// RandomX changes the rounding mode frequently, and later variants of CryptoNight stay in a
// directed mode. Legitimate programs rarely do either. A kernel program (monero.bpf.c)
// samples the mode of threads at context switches, package rounding evaluates the samples,
// and this package kills or reports the processes.
package monero

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/kernelbtf"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// Name is the detector's name in settings, logs and metrics.
const Name = "monero"

// batchInterval is the time for which samples are left in the ring buffer, because a wake-up
// for each sample would cost more than its evaluation.
const batchInterval = 100 * time.Millisecond

// sweepInterval is the time between two removals of suspects without recent samples.
const sweepInterval = 15 * time.Second

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
	policy  atomic.Pointer[policy]
	objs    objects
	link    link.Link
	samples *ringbuf.Reader
	metrics *metrics
	judge   *judge
	health  *health.Monitor
}

type objects struct {
	bpfMaps
	bpfPrograms
	bpfVariables
}

// Supported returns an error that wraps detector.ErrUnsupported if the rounding modes cannot be
// sampled on this kernel.
func Supported() error {
	kernel, err := kernelbtf.Cache.Kernel()
	if err != nil {
		return fmt.Errorf("reading the kernel's BTF: %w", err)
	}
	var found *btf.Typedef
	if err := kernel.TypeByName("btf_trace_"+tracepoint, &found); errors.Is(err, btf.ErrNotFound) {
		return fmt.Errorf("this kernel has no tracepoint %s: %w", tracepoint, detector.ErrUnsupported)
	} else if err != nil {
		return fmt.Errorf("looking for the tracepoint %s: %w", tracepoint, err)
	}
	return checkStackSize(kernel, os.Getpagesize())
}

// Load loads the kernel program and attaches it. It returns the errors of Supported.
func Load(e detector.Env, p detector.Policy) (*Detector, error) {
	if err := Supported(); err != nil {
		return nil, err
	}
	d := &Detector{health: e.Health}
	d.metrics = newMetrics(d.kernelCounts)
	its, err := policyOf(p)
	if err != nil {
		return nil, err
	}
	d.judge = newJudge(e, its, d.metrics)
	if err := d.load(p); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Detector) load(p detector.Policy) error {
	spec, err := loadBpf()
	if err != nil {
		return fmt.Errorf("reading the monero object: %w", err)
	}
	if err := spec.LoadAndAssign(&d.objs, &ebpf.CollectionOptions{Cache: kernelbtf.Cache}); err != nil {
		return fmt.Errorf("loading the monero program: %w", err)
	}
	if err := d.Apply(p); err != nil {
		return err
	}
	if d.samples, err = ringbuf.NewReader(d.objs.Samples); err != nil {
		return fmt.Errorf("opening the ring buffer of samples: %w", err)
	}
	d.link, err = link.AttachTracing(link.TracingOptions{Program: d.objs.SampleMode})
	if err != nil {
		return fmt.Errorf("attaching to the tracepoint %s: %w", tracepoint, err)
	}
	return nil
}

// Apply replaces the policy. If its thresholds differ, all suspects are dropped.
func (d *Detector) Apply(p detector.Policy) error {
	its, err := policyOf(p)
	if err != nil {
		return err
	}
	t := its.settings.Thresholds
	if err := d.objs.InterestNs.Set(uint64(t.Window)); err != nil {
		return fmt.Errorf("setting the window: %w", err)
	}
	if err := d.objs.SpacingNs.Set(uint64(rounding.Spacing)); err != nil {
		return fmt.Errorf("setting the spacing of samples: %w", err)
	}
	d.policy.Store(its)
	return nil
}

// Collector returns the detector's metrics.
func (d *Detector) Collector() prometheus.Collector { return d.metrics }

// Run evaluates samples and carries out verdicts until ctx ends. It may be called once.
func (d *Detector) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.judge.verdicts.run(ctx) })
	g.Go(func() error {
		<-ctx.Done()
		return d.samples.Close() // the end of a context does not wake a reader
	})
	g.Go(func() error {
		loop := d.health.Loop(Name+" samples", health.DefaultLimit)
		defer loop.End()
		return loop.Retry(ctx, func() error { return d.readSamples(ctx, loop) })
	})
	err := g.Wait()
	d.judge.sampler.wait()
	return err
}

func (d *Detector) readSamples(ctx context.Context, loop *health.Loop) error {
	swept := process.Monotonic()
	for {
		loop.Idle()
		d.samples.SetDeadline(time.Now().Add(sweepInterval))
		record, err := d.samples.Read()
		if errors.Is(err, ringbuf.ErrClosed) {
			return nil
		}
		loop.Progress()
		d.judge.apply(d.policy.Load()) // also without a sample, to free the previous policy
		if now := process.Monotonic(); now-swept > sweepInterval {
			d.judge.sweep(now)
			swept = now
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading samples: %w", err)
		}
		x, err := decodeSample(record.RawSample)
		if err != nil {
			loop.Failed(err)
			continue
		}
		d.judge.addSample(ctx, x)
		if record.Remaining == 0 {
			select {
			case <-ctx.Done():
			case <-time.After(batchInterval):
			}
		}
	}
}

// Describe returns how the kernel program reads rounding modes on this kernel, which was
// decided when it was loaded.
func (d *Detector) Describe() (string, error) {
	ret, err := d.objs.Describe.Run(&ebpf.RunOptions{})
	if err != nil {
		return "", fmt.Errorf("running the monero program describe: %w", err)
	}
	return variantName(ret), nil
}

// Close detaches the kernel program and frees all resources of Load. It does not wait for Run.
func (d *Detector) Close() error {
	var errs []error
	if d.link != nil {
		errs = append(errs, d.link.Close())
	}
	if d.samples != nil {
		errs = append(errs, d.samples.Close())
	}
	return errors.Join(append(errs, d.objs.bpfPrograms.Close(), d.objs.bpfMaps.Close())...)
}

func (d *Detector) kernelCounts() (sampled, lost uint64, err error) {
	sums, err := verdict.ReadCounters(d.objs.Counters, int(bpfCounterCOUNTERS))
	if err != nil {
		return 0, 0, err
	}
	return sums[bpfCounterSAMPLED], sums[bpfCounterLOST_SAMPLE], nil
}
