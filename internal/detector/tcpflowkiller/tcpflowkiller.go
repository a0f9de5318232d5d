// Package tcpflowkiller keeps miners from their pools.
//
// Kernel programs of the root cgroup judge what each socket connects to and what it says
// first: banned addresses, the words of miners, and the names of pools. They refuse the
// connection before a byte leaves, and kill the process where the kernel can do that. This
// package loads them, kills where they cannot, and reports their verdicts.
package tcpflowkiller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/tcpflowkiller/firstbytes"
	"github.com/cryptnono/cryptnono/internal/kernelbtf"
	"github.com/cryptnono/cryptnono/internal/pin"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// Name is the detector's name in settings, logs and metrics.
const Name = "tcpflowkiller"

// A Detector implements detector.Detector.
type Detector struct {
	detector.Env
	hasher  *firstbytes.Hasher
	root    *os.File             // the cgroup whose sockets are judged
	shared  map[string]*ebpf.Map // that the programs of all policies use
	events  *ringbuf.Reader
	tallies [bpfReasonREASONS]verdict.Tally // of verdicts that user space completed
	kept    *verdict.Kept
	own     process.Instance // the agent, which is not judged
	entry   *pin.Entry       // watch_connects, whose slot has the program that counts them
	// began is when the agent was loaded, monotonic. Older events are of the agent before.
	began      time.Duration
	scanSecret uint64 // which table is that of a process

	owners owners

	mu     sync.Mutex // one Apply at a time
	objs   *bpfObjects
	links  []link.Link            // of the programs of the cgroup, by hooks
	policy atomic.Pointer[policy] // the newest, which links to older ones

	applied chan struct{} // has something if older connections are to be judged
}

// A policy is what the events of one generation refer to.
type policy struct {
	detector.Policy
	settings   *Settings
	lists      lists
	limited    []limitRule // for the kill limit, in the order of the kernel
	generation uint32
	before     *policy
	gone       bool // it was that of an agent before, and its lists are not known
}

// maxPolicies is the number of policies that are kept for events that are still to be read.
const maxPolicies = 3

func (p *policy) truncated(limit int) *policy {
	if p == nil || limit == 0 {
		return nil
	}
	c := *p
	c.before = p.before.truncated(limit - 1)
	return &c
}

// find returns the policy of a generation, nil if it is not kept any more.
func (p *policy) find(generation uint32) *policy {
	for p != nil && p.generation != generation {
		p = p.before
	}
	return p
}

// Load loads the kernel programs and attaches them to the root cgroup.
func Load(e detector.Env, p detector.Policy) (*Detector, error) {
	if err := checkPrivilege(); err != nil {
		return nil, err
	}
	root, err := openRoot()
	if err != nil {
		return nil, err
	}
	s, ok := p.Settings.(*Settings)
	if !ok {
		return nil, errors.Join(fmt.Errorf("settings of type %T", p.Settings), root.Close())
	}
	return load(e, p, root, listsOf(p.Matcher.Set), s)
}

// load loads for the sockets of a cgroup and of those below it. The detector owns the file.
func load(e detector.Env, p detector.Policy, root *os.File, l lists, s *Settings) (*Detector, error) {
	d := &Detector{Env: e, root: root, shared: make(map[string]*ebpf.Map), applied: make(chan struct{}, 1)}
	spec, err := loadBpf()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading the tcpflowkiller object: %w", err), d.Close())
	}
	own, err := e.Inventory.Locate(os.Getpid())
	if errors.Is(err, process.ErrGone) {
		own.Start = math.MaxInt64 // in another PID namespace, where only doctor comes so far: no process has it
	} else if err != nil {
		return nil, errors.Join(fmt.Errorf("looking for the agent's own process: %w", err), d.Close())
	}
	d.own = own.Instance()
	if err := d.keep(spec, &policy{Policy: p, settings: s, lists: l}); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if d.events, err = ringbuf.NewReader(d.shared[bpfMapEvents]); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the ring buffer of events: %w", err), d.Close())
	}
	if err := d.apply(p, s, l); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if err := d.kept.LogMeanwhile(d.Log, d.shared[bpfMapCounters]); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Apply implements detector.Detector. Each program is replaced in one step: each connection and
// each packet is judged by one policy.
func (d *Detector) Apply(p detector.Policy) error {
	s, ok := p.Settings.(*Settings)
	if !ok {
		return fmt.Errorf("settings of type %T", p.Settings)
	}
	return d.apply(p, s, listsOf(p.Matcher.Set))
}

func (d *Detector) apply(p detector.Policy, s *Settings, l lists) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.policy.Load()
	next := &policy{Policy: p, settings: s, lists: l, limited: l.limitRules(), generation: 1, before: before.truncated(maxPolicies - 1)}
	if before != nil {
		next.generation = before.generation + 1
	}
	numbers, limit, err := d.limit(next.limited)
	if err != nil {
		return err
	}
	objs, err := d.loadPolicy(next, numbers)
	if err != nil {
		return err
	}
	d.policy.Store(next) // before its first event
	err = d.kept.InForce(next.generation, d.identify(&l))
	if err == nil {
		err = d.replace(objs, s.Scan.isOn(), before)
	}
	if err != nil {
		d.policy.Store(before)
		return errors.Join(err, objs.Close())
	}
	old := d.objs
	d.objs = objs
	if err := limit(); err != nil {
		d.Log.Error("old rules still have a kill limit", "detector", Name, "err", err)
	}
	d.wantOlder()
	if old != nil {
		return old.Close()
	}
	return nil
}

// loadPolicy loads the programs and tables of a policy. limited are the numbers of its rules for the
// kill limit.
func (d *Detector) loadPolicy(p *policy, limited []uint32) (*bpfObjects, error) {
	spec, err := loadBpf()
	if err != nil {
		return nil, fmt.Errorf("reading the tcpflowkiller object: %w", err)
	}
	names := p.lists.kernelNames()
	if p.settings.Names == Off {
		clear(names)
	}
	t := newAddressTable(&p.lists)
	variables := map[string]any{
		bpfVarObserve: p.Observe, bpfVarGeneration: p.generation, bpfVarHasNames: len(names) > 0,
		bpfVarAgent: uint32(d.own.PID), bpfVarAgentTick: uint64(d.own.Start / process.ClockTick), bpfVarScanSecret: d.scanSecret,
		bpfVarWantsEnv: len(p.LogEnv) > 0, bpfVarLimitNames: p.lists.firstLimitedName(),
	}
	spec.Maps[bpfMapLimitRules].MaxEntries = uint32(len(limited))
	for name, act := range p.settings.acts() {
		variables[name] = uint32(act)
	}
	maps.Copy(variables, p.settings.scanVariables())
	for name, value := range variables {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("setting %s: %w", name, err)
		}
	}
	if err := d.hasher.Prepare(spec, p.settings.decides(), len(names)); err != nil {
		return nil, err
	}
	if err := t.prepare(spec); err != nil {
		return nil, err
	}
	shared := d.Maps() // of the exemptions and the kill limit in force
	maps.Copy(shared, d.shared)
	objs := new(bpfObjects)
	if err := spec.LoadAndAssign(objs, &ebpf.CollectionOptions{Cache: kernelbtf.Cache, MapReplacements: shared}); err != nil {
		return nil, fmt.Errorf("loading the tcpflowkiller programs: %w", err)
	}
	err = errors.Join(d.hasher.Fill(objs.Words, objs.Names, names), t.fill(objs))
	for i, number := range limited {
		err = errors.Join(err, objs.LimitRules.Put(uint32(i), number))
	}
	for _, port := range p.settings.Scan.exceptPorts() {
		err = errors.Join(err, objs.ExceptPorts.Put(uint32(port), uint32(1)))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("filling the tables of tcpflowkiller: %w", err), objs.Close())
	}
	return objs, nil
}

// replace puts programs in force instead of the old ones, which are of the policy before, or attaches
// them. scans tells whether connects are to be counted.
func (d *Detector) replace(objs *bpfObjects, scans bool, before *policy) error {
	if err := d.count(objs, scans); err != nil {
		return err
	}
	if err := d.replaceInCgroup(objs); err != nil {
		if d.objs != nil {
			err = errors.Join(err, d.count(d.objs, before.settings.Scan.isOn()))
		}
		return err
	}
	return nil
}

func (d *Detector) replaceInCgroup(objs *bpfObjects) error {
	for i, h := range hooks {
		if i < len(d.links) {
			if err := d.links[i].Update(h.program(objs)); err != nil {
				return fmt.Errorf("replacing a program at %s: %w", h.at, err)
			}
			continue
		}
		l, err := d.attach(h.name, h.at, h.program(objs))
		if err != nil {
			return err
		}
		d.links = append(d.links, l)
	}
	return nil
}

// Describe implements detector.Describer.
func (d *Detector) Describe() (string, error) {
	if killsInKernel() {
		return "refuses and kills in the kernel", nil
	}
	return "refuses in the kernel, the agent kills", nil
}

// Close detaches the programs and frees all that Load took.
func (d *Detector) Close() error {
	var errs []error
	for _, l := range d.links {
		errs = append(errs, l.Close())
	}
	if d.events != nil {
		errs = append(errs, d.events.Close())
	}
	if d.objs != nil {
		errs = append(errs, d.objs.Close())
	}
	for _, m := range d.shared {
		errs = append(errs, m.Close())
	}
	return errors.Join(append(errs, d.entry.Close(), d.kept.Release(), d.root.Close())...)
}

// Run implements detector.Detector.
func (d *Detector) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.readEvents(ctx) })
	g.Go(func() error { return d.judgeOlder(ctx) })
	g.Go(func() error { d.endFormers(ctx); return nil })
	g.Go(func() error { d.kept.Watch(ctx, d.Log, d.counters); return nil })
	return g.Wait() //nolint:wrapcheck // of this package
}
