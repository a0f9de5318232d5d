package verdict

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/cryptnono/cryptnono/internal/pin"
	"github.com/cryptnono/cryptnono/internal/process"
)

// countersMap is the name of the map in bpf/counters.h.
const countersMap = "counters"

// A Kept is what a detector that kills in the kernel keeps for the next agent, and what it has
// taken over from the agents before, in a directory of pins. Without one it keeps nothing. It is
// safe for concurrent use.
type Kept struct {
	*pin.Unit               // nil without a directory
	Formers   []*pin.Former // other versions that have objects there
	Before    pin.State     // of the last agent of this build; zero if there was none
	store     *pin.Store
	dir       *pin.Dir
	options   KeepOptions
	names     []string // of the counters
	mu        sync.Mutex
	state     pin.State
}

// KeepOptions describe what a detector keeps.
type KeepOptions struct {
	Detector string
	Object   []byte    // as loaded
	Sizes    []uint32  // what is set in the object and changes its maps
	Types    *btf.Spec // of the object
	Counters int       // how many have a name in the object
	More     []string  // names of the counters after these
	Events   string    // name of the ring buffer
	Entries  []string  // names of the entries, and of the links of all builds
	// Names of the counters of kills, with those that were left to the agent; and of all verdicts that were
	// left to it. Nil for those of a detector that uses carry_out.
	Killed, Left []string
}

// Keep opens the pins of a detector. seed is for the first agent, see Seed.
func Keep(dir *pin.Dir, seed uint64, o KeepOptions) (*Kept, error) {
	if o.Killed == nil {
		o.Killed, o.Left = []string{"BANNED"}, []string{"KILL_FAILED", "UNDECIDED", "UNKNOWN_CONTAINER"}
	}
	k := &Kept{state: pin.State{Seed: seed}, options: o, dir: dir}
	if dir == nil {
		return k, nil
	}
	k.state.Version = dir.Version()
	err := k.open(dir, o.Detector, pin.Build(o.Object, o.Sizes...))
	if err == nil {
		k.names, err = CounterNames(o.Types, o.Counters)
	}
	if err == nil {
		k.names = append(k.names, o.More...)
		k.state.Counters = k.names
		k.state.Events, err = EventFormat(o.Types)
	}
	if err == nil {
		err = k.fold()
	}
	if err != nil {
		return nil, errors.Join(err, k.store.Close())
	}
	return k, nil
}

func (k *Kept) open(dir *pin.Dir, detector, build string) (err error) {
	if k.Unit, err = dir.Unit(detector, build); err != nil {
		return err
	}
	if k.store, k.Before, err = k.Store(); err != nil {
		return err
	}
	if k.Before.Seed != 0 {
		k.state.Seed = k.Before.Seed
	}
	k.state.Base, k.state.Alive, k.state.Seen = k.Before.Base, k.Before.Alive, k.Before.Seen
	k.state.Generation, k.state.Rules = k.Before.Generation, k.Before.Rules
	if k.Formers, err = k.Unit.Formers(); err != nil {
		return err
	}
	for _, f := range k.Formers {
		if f.Alive > k.state.Alive {
			k.state.Alive, k.state.Seen = f.Alive, f.Seen
		}
	}
	return nil
}

// Seed returns the seed of fingerprints, which is that of the agent before.
func (k *Kept) Seed() uint64 { return k.state.Seed }

// IsOurFormat reports whether the events of a former version have the format of this one.
func (k *Kept) IsOurFormat(f *pin.Former) bool { return f.Events == k.state.Events }

// fold takes over the counts of the former versions.
func (k *Kept) fold() error {
	live := make(map[string]map[string]uint64)
	for _, f := range k.Formers {
		if len(f.Counters) == 0 {
			continue // it never had anything in force
		}
		m, err := f.Map(countersMap)
		if errors.Is(err, os.ErrNotExist) {
			continue // its agent ended before it had pinned them, or while it removed them
		} else if err != nil {
			return err
		}
		c, err := ReadCounters(m, len(f.Counters))
		key, errKey := f.CountersKey(m)
		if err = errors.Join(err, errKey, m.Close()); err != nil {
			return err
		}
		live[key] = c.ByName(f.Counters)
	}
	own, err := k.CountersKey(countersMap)
	if err != nil {
		return err //nolint:wrapcheck // it says all
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.state.Base = pin.Base(own, k.state.Base, k.Formers, live)
	return k.store.Write(k.state)
}

// Forget takes over the last counts of the former versions and removes what they have pinned.
// Call it when none of their programs runs any more.
func (k *Kept) Forget() error {
	if len(k.Formers) == 0 {
		return nil
	}
	if err := k.fold(); err != nil {
		return err
	}
	for _, f := range k.Formers {
		if err := f.Remove(); err != nil {
			return err //nolint:wrapcheck // it says all
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.state.Base = pin.Base("", k.state.Base, nil, nil)
	return k.store.Write(k.state)
}

// InForce stores which rules the next program has. Call it before that is put in force.
func (k *Kept) InForce(generation uint32, rules string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.state.Generation, k.state.Rules = generation, rules
	return k.store.Write(k.state)
}

// Counters reads the counters, with what earlier agents have counted.
func (k *Kept) Counters(m *ebpf.Map) (Counters, error) {
	c, err := ReadCounters(m, k.options.Counters+len(k.options.More))
	if err != nil || k.store == nil {
		return c, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	c.Add(pin.Total(k.state.Base), k.names)
	return c, nil
}

// Alive stores that the agent is at work, and the counts that it has seen. Call it each second.
func (k *Kept) Alive(c Counters) error {
	if k.store == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.state.Alive, k.state.Seen = int64(process.SinceBoot()), c.ByName(k.names)
	return k.store.Write(k.state)
}

// LogMeanwhile logs what the kernel has done since an agent was last seen, by its counters. Call it
// once, before Alive, which it calls.
func (k *Kept) LogMeanwhile(log *slog.Logger, counters *ebpf.Map) error {
	c, err := k.Counters(counters)
	if err != nil {
		return err
	}
	k.logMeanwhile(log, c)
	return k.Alive(c)
}

func (k *Kept) logMeanwhile(log *slog.Logger, c Counters) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state.Alive == 0 {
		return
	}
	now, seen := c.ByName(k.names), k.state.Seen
	since := func(names ...string) (n uint64) {
		for _, name := range names {
			n += now[name] - min(seen[name], now[name])
		}
		return n
	}
	a := pin.Alone{
		Time:  process.SinceBoot() - time.Duration(k.state.Alive),
		Kills: since(k.options.Killed...), LeftToAgent: since(k.options.Left...), EventsLost: since("LOST_EVENT"),
	}
	k.dir.Was(k.options.Detector, a)
	log.Info("took over the protection that was pinned", "detector", k.options.Detector,
		"without_agent_seconds", a.Time.Seconds(), "kills", a.Kills, "left_to_agent", a.LeftToAgent,
		"events_lost", a.EventsLost, "other_builds", len(k.Formers))
}

// Watch calls Alive each second, until ctx ends.
func (k *Kept) Watch(ctx context.Context, log *slog.Logger, read func() (Counters, error)) {
	if k.store == nil {
		return
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c, err := read()
		if err == nil {
			err = k.Alive(c)
		}
		if err != nil {
			log.Error("what is pinned is not up to date", "detector", k.options.Detector, "err", err)
		}
	}
}

// Release closes all descriptors. What is pinned stays.
func (k *Kept) Release() error {
	if k == nil {
		return nil
	}
	if err := k.store.Close(); err != nil {
		return fmt.Errorf("closing the pinned state: %w", err)
	}
	return nil
}
