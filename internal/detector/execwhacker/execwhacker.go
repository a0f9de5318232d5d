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
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/report"
)

// Name is the detector's name in settings, logs and metrics.
const Name = "execwhacker"

// Options are what a detector needs.
type Options struct {
	Matcher *match.Matcher
	// ScanInterval is the time between two scans of what runs already. There is
	// none, not even at the start, if it is 0.
	ScanInterval time.Duration
	Report       *report.Reporter
	Log          *slog.Logger
}

// A Detector kills banned programs from Load to Close.
type Detector struct {
	Options
	objs    objects
	link    link.Link
	events  *ringbuf.Reader
	metrics *metrics
	judge   *judge
}

// objects are the parts of the BPF object that a running detector needs.
type objects struct {
	bpfMaps
	JudgeExec     *ebpf.Program `ebpf:"judge_exec"`
	RememberAgent *ebpf.Program `ebpf:"remember_agent"`
}

// Load loads the program and attaches it. When it returns, execs are judged.
func Load(o Options) (*Detector, error) {
	d := &Detector{Options: o}
	d.metrics = newMetrics(d.kernelCounts)
	d.judge = newJudge(o)
	if err := d.load(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Detector) load() error {
	spec, err := loadBpf()
	if err != nil {
		return fmt.Errorf("reading the execwhacker object: %w", err)
	}
	t := newTables(d.Matcher)
	if err := t.size(spec); err != nil {
		return err
	}
	if err := spec.LoadAndAssign(&d.objs, nil); err != nil {
		return fmt.Errorf("loading the execwhacker program: %w", err)
	}
	if err := t.fill(&d.objs.bpfMaps); err != nil {
		return err
	}
	// Runs here, in the agent's own context: see agent_inode.
	if _, err := d.objs.RememberAgent.Run(&ebpf.RunOptions{}); err != nil {
		return fmt.Errorf("running the program that remembers the agent's file: %w", err)
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
	if d.ScanInterval > 0 {
		s := scanner{judge: d.judge, tally: &d.metrics.scan}
		g.Go(func() error { return s.run(ctx, d.ScanInterval) })
	}
	return g.Wait()
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
	for _, p := range []*ebpf.Program{d.objs.JudgeExec, d.objs.RememberAgent} {
		errs = append(errs, p.Close())
	}
	return errors.Join(append(errs, d.objs.Close())...)
}

func (d *Detector) readEvents(ctx context.Context) error {
	for {
		record, err := d.events.Read()
		if errors.Is(err, ringbuf.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading exec events: %w", err)
		}
		e, err := decodeEvent(record.RawSample)
		if err != nil {
			return err
		}
		d.handle(ctx, e)
	}
}

// handle reports an exec that was found, and judges it if the kernel could not.
func (d *Detector) handle(ctx context.Context, e event) {
	v := report.Verdict{
		Detector: Name,
		Source:   sourceExec,
		PID:      e.process.PID,
		PPID:     e.process.PPID,
		UID:      e.process.UID,
		Program:  process.Printable(e.program, logLimit),
		Cmdline:  e.cmdline(),
		Cgroup:   process.Printable([]byte(e.process.Cgroup), logLimit),
		After:    e.took,
	}
	if e.ban != 0 {
		ban := d.Matcher.Set.Bans[e.ban-1]
		v.Matched, v.Rule = ban.Text, ban.Origin.String()
	}
	switch {
	case e.killed:
		v.Action = report.Killed
	case e.outcome == bpfOutcomeOBSERVED:
		v.Action = report.Observed
	case e.outcome == bpfOutcomeALLOWED:
		v.Action = report.Spared
		v.Allowed = d.Matcher.Set.Allowed[e.pattern-1].Origin.String()
	default: // the kernel could not judge it, or not kill it
		h, err := e.process.Open()
		if err == nil {
			defer h.Close()
			d.judge.decide(ctx, h, sourceExec, &d.metrics.exec, nil)
			return
		}
		d.metrics.exec.missed.Add(1)
		v.Action = report.MissedKill
	}
	d.Report.Report(v)
}

// kernelCounts sums the kernel's counters over all CPUs.
func (d *Detector) kernelCounts() (kernelCounts, error) {
	var sums [bpfCounterCOUNTERS]uint64
	for i := range sums {
		var perCPU []uint64
		if err := d.objs.Counters.Lookup(uint32(i), &perCPU); err != nil {
			return kernelCounts{}, fmt.Errorf("reading the kernel's counter %d: %w", i, err)
		}
		for _, n := range perCPU {
			sums[i] += n
		}
	}
	stats, err := d.objs.JudgeExec.Stats()
	if err != nil {
		return kernelCounts{}, fmt.Errorf("reading the program's statistics: %w", err)
	}
	return kernelCounts{
		noMatch:    sums[bpfOutcomeNO_MATCH],
		allowed:    sums[bpfOutcomeALLOWED],
		observed:   sums[bpfOutcomeOBSERVED],
		banned:     sums[bpfOutcomeBANNED],
		undecided:  sums[bpfOutcomeUNDECIDED],
		lostEvents: sums[bpfCounterLOST_EVENT],
		killFailed: sums[bpfCounterKILL_FAILED],
		unjudged:   stats.RecursionMisses,
	}, nil
}
