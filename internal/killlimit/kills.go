package killlimit

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/process"
)

// SessionLevel is the index in a path of the cgroup of a session of systemd: SESSION_LEVEL in
// bpf/killlimit.h, which counts from the root.
const SessionLevel = 2

// Kills are those that were made in a container, or in another cgroup of SessionLevel.
type Kills struct {
	Cgroup cgroup.Key
	Made   uint64        // since the first; a process counts once
	Last   time.Duration // on the clock of process.Monotonic
	Rule   uint32        // number of that of the last kill

	parents []uint64 // of the last kills, as in struct made_kills
}

// StartedBy returns how many of the last 8 killed processes a process started.
func (k Kills) StartedBy(i process.Instance) (n int) {
	for _, parent := range k.parents {
		if parent == instance(i) {
			n++
		}
	}
	return n
}

// Kills returns the kills by container, if they are counted (Limits.Counted).
func (k *Limiter) Kills() (all []Kills, err error) {
	var key bpfCgroupKey
	var made bpfMadeKills
	entries := k.objs.MadeKillMap.Iterate()
	for entries.Next(&key, &made) {
		kills := Kills{
			Cgroup: cgroup.Key{ID: key.Id, Hierarchy: uint32(key.Hierarchy)},
			Made:   made.Kills, Last: time.Duration(made.LastNs), Rule: made.Rule,
		}
		for _, l := range made.Last {
			if l.Process != 0 {
				kills.parents = append(kills.parents, l.Parent)
			}
		}
		all = append(all, kills)
	}
	if err := errOf(entries); err != nil {
		return nil, fmt.Errorf("reading the kills in containers: %w", err)
	}
	return all, nil
}

// errOf returns the error of an iteration over a map. What it has is enough if so many entries came and went meanwhile
// that it was aborted.
func errOf(entries *ebpf.MapIterator) error {
	if err := entries.Err(); !errors.Is(err, ebpf.ErrIterationAborted) {
		return err //nolint:wrapcheck // the caller does
	}
	return nil
}

// Forget forgets the kills in a container.
func (k *Limiter) Forget(c cgroup.Key) error {
	err := k.objs.MadeKillMap.Delete(bpfCgroupKey{Id: c.ID, Hierarchy: uint64(c.Hierarchy)})
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("forgetting the kills in a container: %w", err)
	}
	return nil
}

// Uncounted returns the number of kills that Kills lacks, because there were kills in too many
// containers.
func (k *Limiter) Uncounted() (n uint64, err error) {
	if err := k.objs.UncountedKills.Lookup(uint32(0), &n); err != nil {
		return 0, fmt.Errorf("reading the number of kills that are not counted: %w", err)
	}
	return n, nil
}

// NoteKill makes Made receive a value. It may be called for a nil Limiter.
func (k *Limiter) NoteKill() {
	if k == nil {
		return
	}
	select {
	case k.made <- struct{}{}:
	default:
	}
}

// Made receives a value soon after one or more kills.
func (k *Limiter) Made() <-chan struct{} { return k.made }

// RuleOf returns the name of a rule by its number, "" for 0, and whether it is stopped.
func (k *Limiter) RuleOf(number uint32) (name string, stopped bool) {
	if number == 0 {
		return "", false
	}
	k.rules.mu.Lock()
	defer k.rules.mu.Unlock()
	var victims bpfRuleVictims
	stopped = k.rules.kills.Lookup(number, &victims) == nil && victims.stopped(k.limits.Load())
	return k.rules.nameOf(number), stopped
}

// note returns the id of the cgroup in which the kill of a process counts, with the process and its
// parent as in struct made_kills. The process is 0 if its kill is not counted.
func (k *Limiter) note(p process.Event) (id, of, parent uint64) {
	switch counted := k.limits.Load().Counted; {
	case counted == CountNone:
		return 0, 0, 0
	case p.Cgroup.Container.Contained():
		id = keyOf(p.Cgroup).Id
	case counted == CountSessions && len(p.Cgroup.Levels) > SessionLevel:
		id = p.Cgroup.Levels[SessionLevel].ID
	default:
		return 0, 0, 0
	}
	if who, err := process.Identify(p.PPID); err == nil {
		parent = instance(who.Instance())
	}
	return id, instance(p.Instance()), parent
}

// instance is instance in bpf/verdict.h.
func instance(i process.Instance) uint64 {
	return uint64(i.PID)<<32 | uint64(uint32(i.Start/process.ClockTick))
}
