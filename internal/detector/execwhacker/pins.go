package execwhacker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/cryptnono/cryptnono/internal/pin"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// keep opens what an earlier agent has pinned, if pins are kept, and makes spec use it.
func (d *Detector) keep(spec *ebpf.CollectionSpec) (err error) {
	d.kept, err = verdict.Keep(d.Pins, Name, _BpfBytes, spec, int(bpfOwnCounterCOUNTERS), rand.Uint64(),
		spec.Maps[bpfMapRecords].MaxEntries, spec.Maps[bpfMapLaters].MaxEntries)
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
	if err := spec.LoadAndAssign(&fresh, nil); err != nil {
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

// sayMeanwhile logs what the kernel has done since the agent before.
func (d *Detector) sayMeanwhile() error {
	c, err := d.kept.Counters(d.objs.Counters, int(bpfOwnCounterCOUNTERS))
	if err != nil {
		return err //nolint:wrapcheck // it says all
	}
	d.kept.LogMeanwhile(d.Log, Name, c)
	return d.kept.Alive(c) //nolint:wrapcheck // the same
}

// settle is for how long the programs of a former version may still run after they were replaced:
// a deferred judgement waits for a container for a second.
const settle = 2 * time.Second

// readFormer reports the verdicts of former versions that no agent has read, and removes what
// these have pinned. It returns early if ctx ends; the next agent then does it.
func (d *Detector) readFormer(ctx context.Context) error {
	if d.kept.Unit == nil {
		return nil
	}
	q := &undecided{verdict.NewPending(d.Judge, d.metrics.containerLookup), d}
	defer q.Wait()
	for _, f := range d.kept.Formers {
		if err := d.readEventsOf(ctx, f, q); err != nil {
			d.Log.Error("verdicts of another version are not logged", "detector", Name, "err", err)
		}
	}
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(settle):
	}
	if err := errors.Join(d.kept.Forget(), d.kept.KeepEntries(bpfProgJudgeExec)); err != nil {
		d.Log.Error("pins of another version are left", "detector", Name, "err", err)
	}
	d.requestScan(policyChanged) // for execs that were judged by the program before while the first scan was made
	return nil
}

// readEventsOf reads the events of a former version.
func (d *Detector) readEventsOf(ctx context.Context, f *pin.Former, q *undecided) error {
	m, err := f.Map(bpfMapEvents)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err //nolint:wrapcheck // it says all
	}
	defer m.Close()
	events, err := ringbuf.NewReader(m)
	if err != nil {
		return fmt.Errorf("opening the ring buffer of another version: %w", err)
	}
	defer events.Close()
	if !d.kept.IsOurFormat(f) {
		d.Log.Warn("verdicts of another version are in another format and not logged", "detector", Name,
			"version", f.Version, "bytes", events.AvailableBytes())
		return nil
	}
	var record ringbuf.Record
	for events.AvailableBytes() > 0 && ctx.Err() == nil {
		events.SetDeadline(time.Now().Add(settle))
		if err := events.ReadInto(&record); err != nil {
			return fmt.Errorf("reading the events of another version: %w", err)
		}
		e, err := decodeEvent(record.RawSample, d.Inventory.Paths())
		if err != nil {
			return err
		}
		if e.generation = d.generations.Load().numberOf(f.Rules, f.Generation, e.generation); e.generation == 0 {
			d.forgotten(e)
			continue
		}
		d.handle(ctx, e, q)
	}
	return nil
}
