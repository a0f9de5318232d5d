package guard

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/container"
	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/process"
)

// maxLookups is how many cgroups are judged at once.
const maxLookups = 16

// learn judges each cgroup when it is made.
func (g *Guard) learn(ctx context.Context, loop *health.Loop) error {
	var workers errgroup.Group
	workers.SetLimit(maxLookups)
	defer workers.Wait() //nolint:errcheck // judging returns none
	for {
		loop.Rest()
		record, err := g.events.Read()
		if errors.Is(err, ringbuf.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading new cgroups: %w", err)
		}
		loop.Turn()
		c, err := g.paths.Decode(record.RawSample)
		if err != nil {
			loop.Failed(err)
			continue
		}
		// What is made inside of a container stands as that does.
		if !c.Container.Contained() || c.Container.Level == c.Depth-1 {
			workers.Go(func() error { return g.look(ctx, c, g.inUse()...) })
		}
	}
}

// look judges a cgroup by the sets in use, and has its container's names looked up
// while it is there. If that fails, it is done when its processes are to be killed.
func (g *Guard) look(ctx context.Context, c cgroup.Cgroup, sets ...*set) error {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	_, err := g.containers.Lookup(ctx, c.Container)
	if errors.Is(err, container.ErrNone) {
		err = nil
	}
	for _, s := range sets {
		if _, err2 := g.judge(ctx, s, c); err == nil {
			err = err2 // not both: a line of the log has no line breaks in it
		}
	}
	if err != nil {
		g.log.Debug("cgroup not known yet", "err", err)
	}
	return nil
}

// inUse returns the set in force and the one before, which the kernel may still use.
func (g *Guard) inUse() []*set {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.before == nil {
		return []*set{g.current}
	}
	return []*set{g.current, g.before}
}

// maxKnown is how many cgroups are judged again by another policy although no process
// is in them just then.
const maxKnown = 4096

// remember keeps a cgroup for a policy that comes later.
func (g *Guard) remember(c cgroup.Cgroup) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.known) >= maxKnown {
		for other := range g.known { // any
			delete(g.known, other)
			break
		}
	}
	g.known[bpfCgroupKey{Id: c.ID(), Hierarchy: uint64(c.Hierarchy)}] = c
}

// survey judges by a set, before ctx ends, the cgroups of all processes and those that
// were judged before.
func (g *Guard) survey(ctx context.Context, s *set) error {
	processes, err := g.processes(0)
	if err != nil {
		return err
	}
	g.mu.RLock()
	all := maps.Clone(g.known)
	g.mu.RUnlock()
	for _, p := range processes {
		all[bpfCgroupKey{Id: p.Cgroup.ID(), Hierarchy: uint64(p.Cgroup.Hierarchy)}] = p.Cgroup
	}
	var workers errgroup.Group
	workers.SetLimit(maxLookups)
	for key, c := range all {
		if key.Id != 0 {
			workers.Go(func() error { return g.look(ctx, c, s) })
		}
	}
	return workers.Wait()
}

// Locate returns who a process is, and where. The error is process.ErrGone if it
// has ended.
func (g *Guard) Locate(pid int) (process.Event, error) {
	all, err := g.processes(pid)
	if err == nil && len(all) == 0 {
		err = process.ErrGone
	}
	if err != nil {
		return process.Event{}, fmt.Errorf("locating process %d: %w", pid, err)
	}
	return all[0], nil
}

// processes returns the one with this pid, or all of them for 0.
func (g *Guard) processes(pid int) ([]process.Event, error) {
	g.listing.Lock()
	defer g.listing.Unlock()
	if err := g.objs.WantedPid.Set(uint32(pid)); err != nil {
		return nil, fmt.Errorf("setting the process to list: %w", err)
	}
	list, err := g.list.Open()
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	defer list.Close()
	var all []process.Event
	err = process.DecodeAll(list, binary.Size(bpfProcess{}), func(b []byte) error {
		p, err := process.Decode(b, g.paths)
		all = append(all, p)
		return err
	})
	return all, err
}
