// Package execwhacker kills programs by their command line.
//
// A program in the kernel (execwhacker.bpf.c) judges each exec before the new
// program runs its first instruction, whatever state this process is in. This
// package loads it with the rules, tells what it did, judges what it had to
// leave open, and scans the processes that run already.
package execwhacker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/guard"
	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/report"
)

// Name is the detector's name in settings, logs and metrics.
const Name = "execwhacker"

// Options are what a detector needs.
type Options struct {
	Policy
	Guard  *guard.Guard
	Report *report.Reporter
	Health *health.Monitor // may be nil
	Log    *slog.Logger
}

// A Policy is what a detector may be given anew while it is at work.
type Policy struct {
	Matcher *match.Matcher
	// ScanInterval is the time between two scans of what runs already. There is
	// none, not even at the start, if it is 0.
	ScanInterval time.Duration
	// LogEnv are the variables of a process's environment that are logged.
	LogEnv []string
}

// A Detector kills banned programs from Load to Close.
type Detector struct {
	log     *slog.Logger
	report  *report.Reporter
	guard   *guard.Guard
	health  *health.Monitor
	objs    objects
	link    link.Link
	events  *ringbuf.Reader
	metrics *metrics
	judge   *judge

	policy atomic.Pointer[Policy]
	past   atomic.Pointer[generation] // the newest, and those before it
	rescan chan struct{}              // holds a token when what runs is to be scanned at once
	reload sync.Mutex                 // one Apply at a time
	rules  *rulesObjects              // that the kernel applies
}

// objects are the parts of the BPF object that all sets of rules share.
type objects struct {
	Events    *ebpf.Map     `ebpf:"events"`
	Counters  *ebpf.Map     `ebpf:"counters"`
	Rules     *ebpf.Map     `ebpf:"rules"`
	JudgeExec *ebpf.Program `ebpf:"judge_exec"`
}

func (o *objects) close() error {
	return errors.Join(o.Events.Close(), o.Counters.Close(), o.Rules.Close(), o.JudgeExec.Close())
}

// Load loads the program and attaches it. When it returns, execs are judged.
func Load(o Options) (*Detector, error) {
	d := &Detector{log: o.Log, report: o.Report, guard: o.Guard, health: o.Health, rescan: make(chan struct{}, 1)}
	d.metrics = newMetrics(d.kernelCounts)
	d.judge = &judge{guard: o.Guard, report: o.Report, log: o.Log}
	if err := d.load(o.Policy); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Detector) load(p Policy) error {
	spec, err := loadBpf()
	if err != nil {
		return fmt.Errorf("reading the execwhacker object: %w", err)
	}
	if err := spec.LoadAndAssign(&d.objs, nil); err != nil {
		return fmt.Errorf("loading the execwhacker dispatcher: %w", err)
	}
	if err := d.Apply(p); err != nil {
		return err
	}
	if d.events, err = ringbuf.NewReader(d.objs.Events); err != nil {
		return fmt.Errorf("opening the ring buffer of exec events: %w", err)
	}
	d.link, err = link.AttachTracing(link.TracingOptions{Program: d.objs.JudgeExec})
	if err != nil {
		return fmt.Errorf("attaching to the tracepoint sched_process_exec: %w", err)
	}
	return nil
}

// Apply puts a policy in the place of the one before, in one step: each exec is
// judged by one of them. After an error the old one still holds. What runs already
// is scanned again.
func (d *Detector) Apply(p Policy) error {
	d.reload.Lock()
	defer d.reload.Unlock()
	before := d.past.Load()
	next := before.follow(p)
	shared := d.guard.Maps()
	maps.Copy(shared, map[string]*ebpf.Map{bpfMapEvents: d.objs.Events, bpfMapCounters: d.objs.Counters})
	rules, err := loadRules(p, next.number, shared)
	if err != nil {
		return err
	}
	d.past.Store(next) // before the first event of it
	if err := d.objs.Rules.Put(uint32(0), rules.ApplyRules); err != nil {
		d.past.Store(before)
		return errors.Join(fmt.Errorf("putting the new rules in place: %w", err), rules.close())
	}
	d.policy.Store(&p)
	old := d.rules
	d.rules = rules
	d.scanSoon()
	if old == nil {
		return nil
	}
	return old.close()
}

// Collector returns the detector's metrics.
func (d *Detector) Collector() prometheus.Collector { return d.metrics }

// Run reports verdicts and scans running processes until ctx ends. It may be
// called once.
func (d *Detector) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		<-ctx.Done()
		return d.events.Close() // the end of a context does not wake a reader
	})
	g.Go(func() error { return d.readEvents(ctx) })
	g.Go(func() error {
		s := scanner{judge: d.judge, tally: &d.metrics.scan, loop: d.health.Loop(Name+" scan", health.TurnAtMost)}
		defer s.loop.End()
		return s.run(ctx, d.rescan, d.policy.Load)
	})
	g.Go(func() error {
		loop := d.health.Loop(Name+" skips", health.TurnAtMost)
		defer loop.End()
		return loop.Retry(ctx, func() error { return watchSkips(ctx, time.Second, d.skips, d.scanSoon) })
	})
	return g.Wait()
}

func (d *Detector) scanSoon() {
	select {
	case d.rescan <- struct{}{}:
	default: // it is known already
	}
}

// Close detaches the program and frees all that Load took. It does not wait for
// Run.
func (d *Detector) Close() error {
	var errs []error
	if d.link != nil {
		errs = append(errs, d.link.Close())
	}
	if d.events != nil {
		errs = append(errs, d.events.Close())
	}
	if d.rules != nil {
		errs = append(errs, d.rules.close())
	}
	return errors.Join(append(errs, d.objs.close())...)
}

// kernelCounts sums the kernel's counters over all CPUs.
func (d *Detector) kernelCounts() (kernelCounts, error) {
	var k kernelCounts
	for i := range k.by {
		var perCPU []uint64
		if err := d.objs.Counters.Lookup(uint32(i), &perCPU); err != nil {
			return kernelCounts{}, fmt.Errorf("reading the kernel's counter %d: %w", i, err)
		}
		for _, n := range perCPU {
			k.by[i] += n
		}
	}
	var err error
	k.unjudged, err = d.unjudged()
	return k, err
}
