// Package killlimit limits the number of containers and users that a rule hits, and the number
// of processes that all detectors together kill in a minute, to contain the damage of a wrong
// rule.
//
// Kernel programs that kill use the same counters (bpf/killlimit.h).
package killlimit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/kernelbtf"
	"github.com/cryptnono/cryptnono/internal/process"
)

// A Limiter counts kills from Load to Close. It is safe for concurrent use.
type Limiter struct {
	log    *slog.Logger
	objs   bpfObjects
	limits atomic.Pointer[Limits]
	rules  rules
	made   chan struct{} // has one if kills were made
}

// Load loads the kernel program and the maps.
func Load(l Limits, log *slog.Logger) (*Limiter, error) {
	k := &Limiter{log: log, made: make(chan struct{}, 1)}
	if err := loadBpfObjects(&k.objs, &ebpf.CollectionOptions{Cache: kernelbtf.Cache}); err != nil {
		return nil, fmt.Errorf("loading the kill limit: %w", err)
	}
	k.rules = rules{kills: k.objs.RuleKills, numbers: make(map[uint64]uint32), sources: make(map[string]source)}
	if err := errors.Join(k.Apply(l), k.rules.add(sharedRule)); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

// Apply replaces the limits, which must be valid. It does not reset a limit that is reached.
func (k *Limiter) Apply(l Limits) error {
	kernel := bpfKillLimits{
		CooldownNs: uint64(l.Cooldown), Node: uint32(l.PerMinute), Container: uint32(l.PerContainer),
		Victims: uint32(l.Victims), CooldownS: seconds(l.Cooldown), WarmUpS: seconds(l.WarmUp),
		Counted: uint32(l.Counted),
	}
	if err := k.objs.KillLimitMap.Put(uint32(0), kernel); err != nil {
		return fmt.Errorf("storing the kill limits: %w", err)
	}
	k.limits.Store(&l)
	return nil
}

// Maps returns the maps by their names in bpf/killlimit.h, for
// ebpf.CollectionOptions.MapReplacements.
func (k *Limiter) Maps() map[string]*ebpf.Map {
	return map[string]*ebpf.Map{
		bpfMapKillLimitMap: k.objs.KillLimitMap, bpfMapNodeKills: k.objs.NodeKills,
		bpfMapContainerKills: k.objs.ContainerKills, bpfMapRuleKills: k.objs.RuleKills, bpfMapRuleStops: k.objs.RuleStops,
		bpfMapMadeKillMap: k.objs.MadeKillMap, bpfMapUncountedKills: k.objs.UncountedKills,
	}
}

// Close frees the program and the maps.
func (k *Limiter) Close() error { return k.objs.Close() }

// Take counts the kill of a process by a rule before it is carried out. It returns true if a limit
// forbids the kill. key identifies the rule, as in Rules; name is for a rule that is not there.
func (k *Limiter) Take(key uint64, name string, p process.Event) (limited bool, err error) {
	rule, err := k.rules.number(key, name)
	if err != nil {
		return false, err
	}
	limit := keyOf(p.Cgroup)
	id, of, parent := k.note(p)
	ret, err := k.objs.TakeKill.Run(&ebpf.RunOptions{Context: [7]uint64{limit.Id, limit.Hierarchy, uint64(rule), uint64(slotOf(p)), id, of, parent}})
	if err != nil {
		return false, fmt.Errorf("counting a kill: %w", err)
	}
	return ret != 0, nil
}

// keyOf returns the key of the container, outside of one that of the cgroup.
func keyOf(at cgroup.Cgroup) bpfCgroupKey {
	level := len(at.Levels) - 1
	if at.Container.Contained() {
		level = at.Container.Level
	}
	key := bpfCgroupKey{Hierarchy: uint64(at.Hierarchy)}
	if level >= 0 {
		key.Id = at.Levels[level].ID
	}
	return key
}

// watchInterval is the time between two checks of the limits.
const watchInterval = time.Second

// Run logs when a limit is reached and when it is reset, until ctx ends, and which rules are stopped.
func (k *Limiter) Run(ctx context.Context, monitor *health.Monitor) error {
	loop := monitor.Loop("kill limit", health.DefaultLimit)
	defer loop.End()
	return loop.Retry(ctx, func() error { return k.watch(ctx, loop) })
}

func (k *Limiter) watch(ctx context.Context, loop *health.Loop) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	var logged reached
	for {
		loop.Idle()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		loop.Progress()
		if err := k.logStops(); err != nil {
			return err
		}
		now, err := k.reached()
		if err != nil {
			return err
		}
		if now == logged {
			continue
		}
		l := k.limits.Load()
		attrs := []any{
			"node", now.node == 1, "containers", now.containers, "per_minute", l.PerMinute,
			"per_container", l.PerContainer, "cooldown", l.Cooldown.String(),
		}
		if now.node > logged.node || now.containers > logged.containers {
			k.log.Warn("kill limit reached", attrs...)
		} else {
			k.log.Info("kill limit reset", attrs...)
		}
		logged = now
	}
}

// A reached has the number of limits of kills that are reached: 0 or 1 for the node, and the number
// of containers.
type reached struct{ node, containers int }

// reached reads the counters from the kernel.
func (k *Limiter) reached() (reached, error) {
	l := k.limits.Load()
	var now reached
	var c bpfKillCount
	if l.PerMinute > 0 {
		if err := k.objs.NodeKills.Lookup(uint32(0), &c); err != nil {
			return reached{}, fmt.Errorf("reading the kill limit: %w", err)
		}
		if c.reached(l.Cooldown) {
			now.node = 1
		}
	}
	if l.PerContainer > 0 {
		var key bpfCgroupKey
		entries := k.objs.ContainerKills.Iterate()
		for entries.Next(&key, &c) {
			if c.reached(l.Cooldown) {
				now.containers++
			}
		}
		if err := errOf(entries); err != nil {
			return reached{}, fmt.Errorf("reading the kill limits of containers: %w", err)
		}
	}
	return now, nil
}

// reached reports whether the limit is reached, so that the next kill is suppressed.
func (c bpfKillCount) reached(cooldown time.Duration) bool {
	return c.ReachedNs != 0 && process.Monotonic()-time.Duration(c.LastNs) < cooldown
}

// Reset resets all limits that are reached.
func (k *Limiter) Reset() error {
	if err := k.objs.NodeKills.Put(uint32(0), bpfKillCount{}); err != nil {
		return fmt.Errorf("resetting the kill limit: %w", err)
	}
	if err := k.rules.reset(); err != nil {
		return err
	}
	var keys []bpfCgroupKey
	var key bpfCgroupKey
	var c bpfKillCount
	entries := k.objs.ContainerKills.Iterate()
	for entries.Next(&key, &c) {
		keys = append(keys, key)
	}
	err := errOf(entries)
	for _, key := range keys {
		if gone := k.objs.ContainerKills.Delete(key); gone != nil && !errors.Is(gone, ebpf.ErrKeyNotExist) {
			err = errors.Join(err, gone)
		}
	}
	if err != nil {
		return fmt.Errorf("resetting the kill limits of containers: %w", err)
	}
	return nil
}
