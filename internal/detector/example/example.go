// Package example is the smallest detector that kills in the kernel: a template for others.
// It kills programs by their command name, and is not in the list of detectors, because
// execwhacker does the same better.
package example

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/kernelbtf"
	"github.com/cryptnono/cryptnono/internal/printable"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// Name is the detector's name in settings, logs and metrics.
const Name = "example"

const (
	source   = "exec"
	rule     = "names"
	nameSize = len(bpfEvent{}.Name)
)

// A Detector kills programs from Load to Close.
type Detector struct {
	detector.Env
	shared map[string]*ebpf.Map // that the programs of all policies use
	events *ringbuf.Reader
	tally  verdict.Tally // of verdicts that the kernel left open

	mu      sync.Mutex // one Apply at a time
	objs    *bpfObjects
	program link.Link
}

// Load loads the program and attaches it.
func Load(e detector.Env, p detector.Policy) (*Detector, error) {
	d := &Detector{Env: e, shared: make(map[string]*ebpf.Map)}
	spec, err := loadBpf()
	if err != nil {
		return nil, fmt.Errorf("reading the example object: %w", err)
	}
	for _, name := range []string{bpfMapEvents, bpfMapCounters} {
		if d.shared[name], err = ebpf.NewMap(spec.Maps[name]); err != nil {
			return nil, errors.Join(fmt.Errorf("making the map %s: %w", name, err), d.Close())
		}
	}
	if d.events, err = ringbuf.NewReader(d.shared[bpfMapEvents]); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the ring buffer of events: %w", err), d.Close())
	}
	if err := d.Apply(p); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Apply implements detector.Detector. The new program is attached before the old one is
// detached: an exec in between is judged by both.
func (d *Detector) Apply(p detector.Policy) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := p.Settings.(*Settings)
	if !ok {
		return fmt.Errorf("settings of type %T", p.Settings)
	}
	spec, err := loadBpf()
	if err != nil {
		return fmt.Errorf("reading the example object: %w", err)
	}
	limited, err := d.Judge.Limit.Rule(Name, rule)
	if err != nil {
		return err
	}
	if err := errors.Join(
		spec.Variables[bpfVarObserve].Set(p.Observe || s.Action == rules.Observe),
		spec.Variables[bpfVarLimitRule].Set(limited),
	); err != nil {
		return fmt.Errorf("setting the action: %w", err)
	}
	shared := d.Maps() // of the exemptions and the kill limit in force
	maps.Copy(shared, d.shared)
	objs := new(bpfObjects)
	if err := spec.LoadAndAssign(objs, &ebpf.CollectionOptions{Cache: kernelbtf.Cache, MapReplacements: shared}); err != nil {
		return fmt.Errorf("loading the example program: %w", err)
	}
	for _, name := range s.Names {
		var key [nameSize]byte
		copy(key[:], name)
		if err := objs.Names.Put(key, uint32(1)); err != nil {
			return errors.Join(fmt.Errorf("storing a name: %w", err), objs.Close())
		}
	}
	program, err := link.AttachTracing(link.TracingOptions{Program: objs.CheckName})
	if err != nil {
		return errors.Join(fmt.Errorf("attaching to the tracepoint sched_process_exec: %w", err), objs.Close())
	}
	err = d.detach()
	d.objs, d.program = objs, program
	return err
}

func (d *Detector) detach() error {
	if d.program == nil {
		return nil
	}
	return errors.Join(d.program.Close(), d.objs.Close())
}

// Run implements detector.Detector: it logs what the kernel did.
func (d *Detector) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = d.events.Close() })() // a context does not wake a reader
	pending := verdict.NewPending(d.Judge, nil)
	defer pending.Wait()
	loop := d.Health.Loop(Name+" events", health.DefaultLimit)
	defer loop.End()
	return loop.Retry(ctx, func() error {
		for {
			loop.Idle()
			record, err := d.events.Read()
			if errors.Is(err, ringbuf.ErrClosed) {
				return nil
			} else if err != nil {
				return fmt.Errorf("reading events: %w", err)
			}
			loop.Progress()
			if err := d.report(ctx, record.RawSample, pending); err != nil {
				loop.Failed(err)
			}
		}
	})
}

func (d *Detector) report(ctx context.Context, b []byte, pending *verdict.Pending) error {
	e, _, err := verdict.DecodeEvent(b, int(unsafe.Offsetof(bpfEvent{}.Text)), d.Inventory.Paths())
	if err != nil {
		return err
	}
	e.SparesNodeRoot = true
	name := b[unsafe.Offsetof(bpfEvent{}.Name):][:nameSize]
	text := printable.Text(bytes.TrimRight(name, "\x00"), nameSize)
	line := report.Verdict{Detector: Name, Source: source, Program: text, Matched: text, Rule: rule, After: e.Took}
	if !d.Judge.ReportKernel(e, "", line) { // the container is unknown
		pending.Resolve(ctx, e, "", line, &d.tally, func(line report.Verdict) { d.kill(ctx, e, line) })
	}
	return nil
}

// kill kills what the kernel left open.
func (d *Detector) kill(ctx context.Context, e verdict.Event, line report.Verdict) {
	h, err := e.Open()
	if err == nil {
		defer h.Close()
	} else {
		h = nil
	}
	suspect := verdict.Suspect{Event: e.Event, Handle: h, Programs: []string{""}, Line: line}
	if _, err := d.Judge.Decide(ctx, suspect, &d.tally); err != nil {
		d.Log.Warn("process not judged", "detector", Name, "pid", e.PID, "err", err)
	}
}

// Collector implements detector.Detector.
func (d *Detector) Collector() prometheus.Collector { return d }

// Describe implements prometheus.Collector.
func (d *Detector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(d, ch) }

// Collect implements prometheus.Collector.
func (d *Detector) Collect(ch chan<- prometheus.Metric) {
	c, err := verdict.ReadCounters(d.shared[bpfMapCounters], verdict.OwnCounters)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(err), err)
		return
	}
	c.Verdicts().Plus(d.tally.Counts()).Collect(ch, Name, source)
	verdict.CollectLostEvents(ch, Name, c.LostEvents())
}

// Close detaches the program and frees all that Load took.
func (d *Detector) Close() error {
	errs := []error{d.detach()}
	if d.events != nil {
		errs = append(errs, d.events.Close())
	}
	for _, m := range d.shared {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}
