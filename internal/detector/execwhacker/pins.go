package execwhacker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"

	"github.com/cilium/ebpf"

	"github.com/cryptnono/cryptnono/internal/kernelbtf"
	"github.com/cryptnono/cryptnono/internal/pin"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// keep opens what an earlier agent has pinned, if pins are kept, and makes spec use it.
func (d *Detector) keep(spec *ebpf.CollectionSpec) (err error) {
	d.kept, err = verdict.Keep(d.Pins, rand.Uint64(), verdict.KeepOptions{
		Detector: Name, Object: _BpfBytes, Types: spec.Types, Counters: int(bpfOwnCounterCOUNTERS), Events: bpfMapEvents,
		Sizes: []uint32{spec.Maps[bpfMapRecords].MaxEntries, spec.Maps[bpfMapLaters].MaxEntries}, Entries: []string{bpfProgJudgeExec},
	})
	if err != nil {
		return fmt.Errorf("taking over pins: %w", err)
	}
	d.seed = d.kept.Seed()
	d.judge.seed = d.seed
	for _, name := range []string{bpfMapEvents, bpfMapExecs, bpfMapCounters, bpfMapLaters, bpfMapRecords, bpfMapCondemned, bpfMapLostRecords} {
		d.kept.Share(spec.Maps[name])
	}
	return nil
}

// loadEntry takes over the pinned entry, or loads one.
func (d *Detector) loadEntry(spec *ebpf.CollectionSpec) (err error) {
	if d.entry, err = d.kept.FindEntry(bpfProgJudgeExec); d.entry != nil || err != nil {
		return err //nolint:wrapcheck // it says all
	}
	var fresh struct {
		Rules     *ebpf.Map     `ebpf:"rules"`
		JudgeExec *ebpf.Program `ebpf:"judge_exec"`
	}
	if err := spec.LoadAndAssign(&fresh, &ebpf.CollectionOptions{Cache: kernelbtf.Cache}); err != nil {
		return fmt.Errorf("loading the execwhacker entry: %w", err)
	}
	d.entry = &pin.Entry{Slot: fresh.Rules, Program: fresh.JudgeExec}
	return nil
}

// identify returns a text that is the same for equal rules, if pins are kept.
func (d *Detector) identify(set *rules.Set) (string, error) {
	if d.kept.Unit == nil {
		return "not kept", nil
	}
	h := sha256.New()
	if err := set.Encode(h); err != nil {
		return "", fmt.Errorf("identifying the rules: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// readFormer reports the verdicts of former versions that no agent has read, and removes what
// these have pinned. It returns early if ctx ends; the next agent then does it.
func (d *Detector) readFormer(ctx context.Context) error {
	q := &undecided{Pending: verdict.NewPending(d.Judge, d.metrics.containerLookup), detector: d}
	defer q.Wait()
	if d.kept.EndFormers(ctx, d.Log, func(f *pin.Former, record []byte) error { return d.handleOf(ctx, f, record, q) }) {
		d.requestScan(policyChanged) // for execs that were judged by the program before while the first scan was made
	}
	return nil
}

// handleOf is handle for an event of a former version.
func (d *Detector) handleOf(ctx context.Context, f *pin.Former, record []byte, q *undecided) error {
	e, err := decodeEvent(record, d.Inventory.Paths())
	if err != nil {
		return err
	}
	if e.generation = d.generations.Load().numberOf(f.Rules, f.Generation, e.generation); e.generation == 0 {
		d.forgotten(e)
	} else {
		d.handle(ctx, e, q)
	}
	return nil
}
