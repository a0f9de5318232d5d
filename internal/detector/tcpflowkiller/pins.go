package tcpflowkiller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"github.com/cryptnono/cryptnono/internal/detector/tcpflowkiller/firstbytes"
	"github.com/cryptnono/cryptnono/internal/kernelbtf"
	"github.com/cryptnono/cryptnono/internal/pin"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// hooks are the places of a cgroup where a program is, and the names of their pins.
var hooks = []struct { //nolint:gochecknoglobals // read only
	name    string
	at      ebpf.AttachType
	program func(*bpfObjects) *ebpf.Program
}{
	{bpfProgJudgeConnect4, ebpf.AttachCGroupInet4Connect, func(o *bpfObjects) *ebpf.Program { return o.JudgeConnect4 }},
	{bpfProgJudgeConnect6, ebpf.AttachCGroupInet6Connect, func(o *bpfObjects) *ebpf.Program { return o.JudgeConnect6 }},
	{bpfProgJudgeSendmsg4, ebpf.AttachCGroupUDP4Sendmsg, func(o *bpfObjects) *ebpf.Program { return o.JudgeSendmsg4 }},
	{bpfProgJudgeSendmsg6, ebpf.AttachCGroupUDP6Sendmsg, func(o *bpfObjects) *ebpf.Program { return o.JudgeSendmsg6 }},
	{bpfProgJudgeEgress, ebpf.AttachCGroupInetEgress, func(o *bpfObjects) *ebpf.Program { return o.JudgeEgress }},
}

// keep opens what an earlier agent has pinned, if pins are kept, and makes the maps that the programs
// of all policies use.
func (d *Detector) keep(spec *ebpf.CollectionSpec, p *policy) (err error) {
	names, killed, left, err := fateNames(spec.Types)
	if err != nil {
		return err
	}
	o := verdict.KeepOptions{
		Detector: Name, Object: _BpfBytes, Types: spec.Types, Counters: int(bpfOwnCounterCOUNTERS), More: names,
		Events: bpfMapEvents, Entries: []string{bpfProgWatchConnects}, Killed: killed, Left: left,
	}
	for _, h := range hooks {
		o.Entries = append(o.Entries, h.name)
	}
	if d.kept, err = verdict.Keep(d.Pins, rand.Uint64(), o); err != nil {
		return fmt.Errorf("taking over pins: %w", err)
	}
	d.hasher, d.scanSecret = firstbytes.NewHasher(d.kept.Seed()), rand.New(rand.NewPCG(d.kept.Seed(), 0)).Uint64()
	d.began = process.Monotonic()
	if before := d.kept.Before; before.Generation != 0 {
		d.policy.Store(p.inherited(before, d.identify(&p.lists)))
	}
	d.kept.Share(spec.Maps[bpfMapEvents], spec.Maps[bpfMapCounters])
	for _, name := range []string{bpfMapEvents, bpfMapCounters} { // of this build
		if d.shared[name], err = d.kept.NewMap(spec.Maps[name]); err != nil {
			return fmt.Errorf("making the map %s: %w", name, err)
		}
	}
	for _, name := range []string{bpfMapStreams, bpfMapMarks, bpfMapPardoned, bpfMapScanTables, bpfMapWaitings} {
		if d.shared[name], err = d.kept.Map(spec.Maps[name]); err != nil {
			return fmt.Errorf("making the map %s: %w", name, err)
		}
	}
	return d.loadEntry(spec)
}

// loadEntry takes over the pinned entry of what counts connects, or loads one.
func (d *Detector) loadEntry(spec *ebpf.CollectionSpec) (err error) {
	if d.entry, err = d.kept.FindEntry(bpfProgWatchConnects); err != nil {
		return err //nolint:wrapcheck // it says all
	}
	if d.entry == nil {
		var fresh struct {
			Counting      *ebpf.Map     `ebpf:"counting"`
			WatchConnects *ebpf.Program `ebpf:"watch_connects"`
		}
		if err := spec.LoadAndAssign(&fresh, &ebpf.CollectionOptions{Cache: kernelbtf.Cache}); err != nil {
			return fmt.Errorf("loading what counts connects: %w", err)
		}
		d.entry = &pin.Entry{Slot: fresh.Counting, Program: fresh.WatchConnects}
	}
	d.shared[bpfMapCounting], err = d.entry.Slot.Clone()
	return err //nolint:wrapcheck // nothing to add
}

// fateNames returns the names of the counters of fates, and which are of kills and of verdicts that are
// left to the agent.
func fateNames(types *btf.Spec) (names, killed, left []string, err error) {
	var fates *btf.Enum
	if err := types.TypeByName("fate", &fates); err != nil {
		return nil, nil, nil, fmt.Errorf("looking for the names of the counters: %w", err)
	}
	names = make([]string, len(reasons)*int(bpfFateFATES))
	for r, reason := range reasons {
		for _, f := range fates.Values {
			if f.Value >= uint64(bpfFateFATES) {
				continue
			}
			name := reason + " " + f.Name
			names[r*int(bpfFateFATES)+int(f.Value)] = name
			switch bpfFate(f.Value) { //nolint:exhaustive // the others are neither
			case bpfFateFATE_KILLED:
				killed = append(killed, name)
			case bpfFateFATE_LEFT, bpfFateFATE_UNKNOWN:
				left = append(left, name)
			}
		}
	}
	return names, killed, left, nil
}

// identify returns a text that is the same for equal lists, if pins are kept.
func (d *Detector) identify(l *lists) string {
	if d.kept.Unit == nil {
		return ""
	}
	h := sha256.New()
	for _, n := range l.names {
		_, _ = fmt.Fprintln(h, n.name, n.action, n.origin)
	}
	for _, a := range l.addresses {
		_, _ = fmt.Fprintln(h, a.prefix, a.ports, a.observe, a.origin)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// inherited returns the last policy of the agent before. If its lists are not those of p, which id
// identifies, they are not known.
func (p *policy) inherited(before pin.State, id string) *policy {
	i := &policy{Policy: p.Policy, settings: p.settings, generation: before.Generation, gone: before.Rules != id}
	if !i.gone {
		i.lists, i.limited = p.lists, p.limited
	}
	return i
}

// policyOf returns the policy of an event, nil if it is not known.
func (d *Detector) policyOf(e *event) *policy {
	newest := d.policy.Load()
	p := newest.find(e.raw.Generation)
	if p == nil && d.isLate(e) {
		p = newest.inherited(pin.State{}, "another")
	}
	return p
}

// isLate reports whether an event is older than the agent.
func (d *Detector) isLate(e *event) bool { return time.Duration(e.raw.BeganNs) < d.began }

// at returns when an event was that is older than the agent, nothing for others.
func (d *Detector) at(e *event) []slog.Attr {
	if !d.isLate(e) {
		return nil
	}
	return []slog.Attr{slog.Time("at", time.Now().Add(time.Duration(e.raw.BeganNs)-process.Monotonic()))}
}

// endFormers reports the verdicts of former versions that no agent has read, and removes what these
// have pinned.
func (d *Detector) endFormers(ctx context.Context) {
	pending := d.newUndecided()
	defer pending.Wait()
	d.kept.EndFormers(ctx, d.Log, func(f *pin.Former, record []byte) error {
		e, err := decodeEvent(record, d.Inventory.Paths())
		if err != nil {
			return err
		}
		newest := d.policy.Load()
		id := "another"
		if e.raw.Generation == f.Generation {
			id = d.identify(&newest.lists)
		}
		d.handle(ctx, e, newest.inherited(f.State, id), pending)
		return nil
	})
}

// attach puts a program in force at a hook: in the place of that of the agent before, if its link is
// pinned.
func (d *Detector) attach(name string, at ebpf.AttachType, program *ebpf.Program) (link.Link, error) {
	l, found, err := d.kept.LinkOfAll(name, func() (link.Link, error) {
		return link.AttachCgroup(link.CgroupOptions{Path: fmt.Sprintf("/proc/self/fd/%d", d.root.Fd()), Attach: at, Program: program})
	})
	if err != nil {
		return nil, explained(fmt.Errorf("attaching to the root cgroup at %s: %w", at, err))
	}
	if !found {
		return l, nil
	}
	if err := l.Update(program); err != nil {
		return nil, errors.Join(fmt.Errorf("replacing the pinned program at %s: %w", at, err), l.Close())
	}
	return l, nil
}

// count has connects counted by the program of a policy, or by none.
func (d *Detector) count(objs *bpfObjects, scans bool) error {
	var program *ebpf.Program
	if scans {
		program = objs.CountConnects
	}
	return d.kept.Fill(bpfProgWatchConnects, d.entry, program) //nolint:wrapcheck // it says all
}
