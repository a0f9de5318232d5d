// Package execwhacker kills programs by their command line.
//
// A kernel program (execwhacker.bpf.c) judges each exec before the first instruction of the
// new program, whether the agent is busy or not. This package loads the kernel program with
// the rules, reports its verdicts, judges the execs that it left to user space, and scans
// running processes.
package execwhacker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/killlimit"
	"github.com/cryptnono/cryptnono/internal/pin"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// Name is the detector's name in settings, logs and metrics.
const Name = "execwhacker"

// A Detector implements detector.Detector.
type Detector struct {
	detector.Env
	objs    objects
	kept    *verdict.Kept
	entry   *pin.Entry // judge_exec, whose slot has the program of the rules
	links   []link.Link
	events  *ringbuf.Reader // of verdicts
	execs   *ringbuf.Reader // of the other execs, for the log
	metrics *metrics
	judge   *judge
	// execLimit limits the lines of d.execs.
	execLimit execLimit

	policy      atomic.Pointer[detector.Policy]
	generations atomic.Pointer[generation] // the newest, which links to older ones
	unplaced    atomic.Uint64              // counts reasons for a scan: see undecided.resolve
	rescan      chan reason                // holds at most one request for a scan
	seed        uint64                     // of fingerprints
	began       time.Duration              // since boot; the kernel program sees later execs
	reload      sync.Mutex                 // one Apply at a time
	rules       *ruleSet                   // in force in the kernel
}

// objects are the parts of the BPF object that all rule sets share.
type objects struct {
	Events      *ebpf.Map `ebpf:"events"`
	Execs       *ebpf.Map `ebpf:"execs"`
	Counters    *ebpf.Map `ebpf:"counters"`
	Laters      *ebpf.Map `ebpf:"laters"`
	Records     *ebpf.Map `ebpf:"records"`
	Condemned   *ebpf.Map `ebpf:"condemned"`
	LostRecords *ebpf.Map `ebpf:"lost_records"`

	InheritRecord *ebpf.Program `ebpf:"inherit_record"`
	DropRecord    *ebpf.Program `ebpf:"drop_record"`
	ListUnjudged  *ebpf.Program `ebpf:"list_unjudged"`

	JudgedGeneration *ebpf.Variable `ebpf:"judged_generation"`
	WantedExec       *ebpf.Variable `ebpf:"wanted_exec"`
	ListedCgroup     *ebpf.Variable `ebpf:"listed_cgroup"`
	Skipped          *ebpf.Variable `ebpf:"skipped"`
}

func (o *objects) close() error {
	var errs []error
	for _, c := range []io.Closer{
		o.Events, o.Execs, o.Counters, o.Laters, o.Records, o.Condemned, o.LostRecords,
		o.InheritRecord, o.DropRecord, o.ListUnjudged,
	} {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// shared returns the maps that the programs of each rule set use too.
func (o *objects) shared() map[string]*ebpf.Map {
	return map[string]*ebpf.Map{
		bpfMapEvents: o.Events, bpfMapExecs: o.Execs, bpfMapCounters: o.Counters, bpfMapLaters: o.Laters,
		bpfMapRecords: o.Records, bpfMapCondemned: o.Condemned, bpfMapLostRecords: o.LostRecords,
	}
}

// Load loads the kernel programs and attaches them. From then on execs are judged.
func Load(e detector.Env, p detector.Policy) (*Detector, error) {
	d := &Detector{Env: e, rescan: make(chan reason, 1)}
	d.metrics = newMetrics(d.kernelCounts, d.execLimit.count)
	d.judge = &judge{Judge: e.Judge}
	if err := d.load(p); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Detector) load(p detector.Policy) error {
	spec, err := loadBpf()
	if err != nil {
		return fmt.Errorf("reading the execwhacker object: %w", err)
	}
	if spec.Maps[bpfMapRecords].MaxEntries, err = maxProcesses(); err != nil {
		return err
	}
	if err := errors.Join(
		spec.Variables[bpfVarHost].Set(d.Inventory.Host()),
		spec.Variables[bpfVarUnseen].Set(uint64(process.SinceBoot())), // no number twice, in kept records
	); err != nil {
		return fmt.Errorf("setting the host's root directory: %w", err)
	}
	sizeLater(spec)
	if err := d.keep(spec); err != nil {
		return err
	}
	if err := spec.LoadAndAssign(&d.objs, d.kept.Options()); err != nil {
		return fmt.Errorf("loading the execwhacker dispatcher: %w", err)
	}
	if err := d.loadEntry(spec); err != nil {
		return err
	}
	if d.judge.list, err = newLister(&d.objs, d.Inventory.Paths()); err != nil {
		return err
	}
	// The program of the rules, which writes records, comes after these, so that each record is
	// inherited and dropped.
	for _, at := range []struct {
		tracepoint string
		program    *ebpf.Program
	}{
		{"sched_process_exit", d.objs.DropRecord},
		{"sched_process_fork", d.objs.InheritRecord},
	} {
		l, err := d.kept.Link(at.tracepoint, attachTo(at.tracepoint, at.program))
		if err != nil {
			return err
		}
		d.links = append(d.links, l)
	}
	if err := d.Apply(p); err != nil {
		return err
	}
	if d.events, err = ringbuf.NewReader(d.objs.Events); err != nil {
		return fmt.Errorf("opening the ring buffer of verdicts: %w", err)
	}
	if d.execs, err = ringbuf.NewReader(d.objs.Execs); err != nil {
		return fmt.Errorf("opening the ring buffer of execs: %w", err)
	}
	d.began = process.SinceBoot()
	if err := d.kept.LogMeanwhile(d.Log, d.objs.Counters); err != nil {
		return err
	}
	if d.entry.Link == nil {
		if err := d.kept.AttachEntry(bpfProgJudgeExec, d.entry, attachTo("sched_process_exec", d.entry.Program)); err != nil {
			return err
		}
	}
	return d.findOwnProgram()
}

// attachTo returns a function that attaches a program to a tracepoint.
func attachTo(tracepoint string, program *ebpf.Program) func() (link.Link, error) {
	return func() (link.Link, error) {
		l, err := link.AttachTracing(link.TracingOptions{Program: program})
		if err != nil {
			return nil, fmt.Errorf("attaching to the tracepoint %s: %w", tracepoint, err)
		}
		return l, nil
	}
}

// findOwnProgram finds the agent's own program file.
func (d *Detector) findOwnProgram() error {
	own, err := d.Inventory.Own()
	if err != nil {
		return fmt.Errorf("finding the agent's own program: %w", err)
	}
	d.judge.own = own
	return nil
}

// Apply replaces the policy atomically: each exec is judged by the old or the new policy. After
// an error the old one stays in force. Otherwise running processes are scanned again.
func (d *Detector) Apply(p detector.Policy) error {
	d.reload.Lock()
	defer d.reload.Unlock()
	before := d.generations.Load()
	id, err := d.identify(&p.Matcher.Set)
	if err != nil {
		return err
	}
	if before == nil {
		before = inherited(d.kept.Before, p, id)
	}
	next := before.next(p, id)
	shared := d.Maps()
	maps.Copy(shared, d.objs.shared())
	limited, limit, err := d.limit(p.Matcher.Set.Bans)
	if err != nil {
		return err
	}
	loaded, err := loadRules(p, limited, next.number, d.seed, shared)
	if err != nil {
		return err
	}
	d.generations.Store(next) // before its first event
	old := d.rules
	err = d.kept.InForce(next.number, next.rules)
	if err == nil {
		err = d.replace(old, loaded)
	}
	if err != nil {
		d.generations.Store(before)
		return errors.Join(fmt.Errorf("replacing the rules: %w", err), loaded.close())
	}
	d.policy.Store(&p)
	d.rules = loaded
	d.requestScan(policyChanged)
	if err := limit(); err != nil {
		d.Log.Error("old rules still have a kill limit", "detector", Name, "err", err)
	}
	if old == nil {
		return nil
	}
	return old.close()
}

// limit adds bans to the kill limit, and returns their numbers there. replace removes the others.
func (d *Detector) limit(bans []rules.Ban) (numbers []uint32, replace func() error, err error) {
	keys := make([]uint64, len(bans))
	for i := range bans {
		keys[i] = limitKey(&bans[i])
	}
	return d.Judge.Limit.Rules(Name, keys, func(i int) string { return bans[i].Origin.String() })
}

// limitKey identifies a ban by what it is, wherever it is written.
func limitKey(b *rules.Ban) uint64 {
	of := []string{Name, fmt.Sprint(b.Kind, b.Spares), b.Text, string(b.Action), string(b.Environment)}
	return killlimit.Key(append(of, b.Parts...)...)
}

// replace puts rules in force in the kernel instead of old, which may be nil.
func (d *Detector) replace(old, rules *ruleSet) error {
	if old == nil {
		return d.entry.Slot.Put(uint32(0), rules.ApplyRules)
	}
	if err := old.Outdated.Set(true); err != nil {
		return err
	}
	if err := d.entry.Slot.Put(uint32(0), rules.ApplyRules); err != nil {
		return errors.Join(err, old.Outdated.Set(false))
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
		return errors.Join(d.events.Flush(), d.execs.Flush()) // so that pending events are still reported
	})
	g.Go(func() error {
		q := &undecided{Pending: verdict.NewPending(d.Judge, d.metrics.containerLookup), detector: d}
		defer q.Wait()
		return d.readEvents(ctx, d.events, "events", func(e event) { d.handle(ctx, e, q) })
	})
	g.Go(func() error { return d.readEvents(ctx, d.execs, "execs", d.logExec) })
	g.Go(func() error { return d.readFormer(ctx) })
	g.Go(func() error { return d.limitExecs(ctx) })
	g.Go(func() error {
		s := scanner{
			judge: d.judge, tally: &d.metrics.scan, list: d.unjudged, began: d.began,
			loop: d.Health.Loop(Name+" scan", health.DefaultLimit),
		}
		defer s.loop.End()
		return s.run(ctx, d.rescan, d.current)
	})
	g.Go(func() error {
		loop := d.Health.Loop(Name+" missed execs", health.DefaultLimit)
		defer loop.End()
		return loop.Retry(ctx, func() error {
			return watchMissed(ctx, time.Second, d.missedExecs, func() { d.requestScan(execsLost) })
		})
	})
	return g.Wait()
}

// current returns the policy in force and its generation.
func (d *Detector) current() (*detector.Policy, uint32) {
	d.reload.Lock()
	defer d.reload.Unlock()
	return d.policy.Load(), d.generations.Load().number
}

// unjudged returns the processes that were not judged by the rules in force.
func (d *Detector) unjudged() ([]suspect, error) {
	_, generation := d.current()
	return d.judge.list.unjudged(generation)
}

// requestScan requests a scan now. If one is pending already, the reason that includes more
// processes wins.
func (d *Detector) requestScan(why reason) {
	for {
		select {
		case d.rescan <- why:
			return
		default:
		}
		select {
		case other := <-d.rescan:
			why = min(why, other)
		default:
		}
	}
}

// Close detaches the kernel programs and frees all resources of Load. It does not wait for Run.
func (d *Detector) Close() error {
	var errs []error
	for _, l := range d.links {
		errs = append(errs, l.Close())
	}
	if d.judge.list != nil {
		errs = append(errs, d.judge.list.close())
	}
	for _, r := range []*ringbuf.Reader{d.events, d.execs} {
		if r != nil {
			errs = append(errs, r.Close())
		}
	}
	if d.rules != nil {
		errs = append(errs, d.rules.close())
	}
	return errors.Join(append(errs, d.entry.Close(), d.objs.close(), d.kept.Release())...)
}

// kernelCounts sums the kernel's counters over all CPUs.
func (d *Detector) kernelCounts() (kernelCounts, error) {
	counters, err := d.kept.Counters(d.objs.Counters)
	if err != nil {
		return kernelCounts{}, err
	}
	k := kernelCounts{Counters: counters}
	if err := d.objs.LostRecords.Lookup(uint32(0), &k.lostRecords); err != nil {
		return kernelCounts{}, fmt.Errorf("reading the counter of lost records: %w", err)
	}
	k.unjudged, err = d.recursionMisses()
	return k, err
}
