package exempt

import (
	"context"
	"errors"
	"maps"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/container"
	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/inventory"
)

// maxLookups is the number of cgroups that are classified concurrently.
const maxLookups = 16

// lookupTimeout bounds a lookup in the background.
const lookupTimeout = 2 * time.Second

// classifyNew classifies each cgroup when it is created, until the inventory is stopped.
func (c *Checker) classifyNew(ctx context.Context, loop *health.Loop) error {
	var workers errgroup.Group
	workers.SetLimit(maxLookups)
	defer workers.Wait() //nolint:errcheck // resolve returns none
	for {
		loop.Idle()
		record, err := c.inventory.ReadCgroup()
		if errors.Is(err, inventory.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		loop.Progress()
		at, err := c.inventory.Paths().Decode(record)
		if err != nil {
			loop.Failed(err)
			continue
		}
		// A cgroup in a container has the class of the container.
		if !at.Container.Contained() || at.Container.Level == at.Depth-1 {
			workers.Go(func() error { return c.resolve(ctx, at, c.inUse()...) })
		}
	}
}

// resolve classifies a cgroup for some sets, and looks up its container, so that the result is
// cached for log lines. If that fails, Find retries it for a process in the cgroup. The error
// is always nil.
func (c *Checker) resolve(ctx context.Context, at cgroup.Cgroup, sets ...*set) error {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	_, err := c.containers.Lookup(ctx, at.Container)
	if errors.Is(err, container.ErrNotContainer) {
		err = nil
	}
	for _, s := range sets {
		if _, err2 := c.classify(ctx, s, at); err == nil {
			err = err2 // not joined, because a log line has no line breaks
		}
	}
	if err != nil {
		c.log.Debug("cgroup not classified yet", "err", err)
	}
	return nil
}

// maxKnown bounds the classified cgroups that are remembered.
const maxKnown = 4096

// addKnown remembers a cgroup, so that Apply classifies it again even if it has no process
// then.
func (c *Checker) addKnown(at cgroup.Cgroup) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= maxKnown {
		for other := range c.known { // any
			delete(c.known, other)
			break
		}
	}
	c.known[at.Key()] = at
}

// classifyExisting classifies the cgroups of all processes and the known cgroups for a set,
// until ctx ends.
func (c *Checker) classifyExisting(ctx context.Context, s *set) error {
	processes, err := c.inventory.Processes()
	if err != nil {
		return err
	}
	c.mu.RLock()
	all := maps.Clone(c.known)
	c.mu.RUnlock()
	for _, p := range processes {
		all[p.Cgroup.Key()] = p.Cgroup
	}
	var workers errgroup.Group
	workers.SetLimit(maxLookups)
	for key, at := range all {
		if key.ID != 0 {
			workers.Go(func() error { return c.resolve(ctx, at, s) })
		}
	}
	return workers.Wait()
}
