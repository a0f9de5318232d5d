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

// maxLookups is how many cgroups are classified at once.
const maxLookups = 16

// lookupTimeout bounds a look-up that nobody waits for.
const lookupTimeout = 2 * time.Second

// classifyNew classifies each cgroup when it is made.
func (c *Checker) classifyNew(ctx context.Context, loop *health.Loop) error {
	var workers errgroup.Group
	workers.SetLimit(maxLookups)
	defer workers.Wait() //nolint:errcheck // lookUp returns none
	for {
		loop.Idle()
		at, err := c.inventory.ReadCgroup()
		if errors.Is(err, inventory.ErrClosed) {
			return nil
		}
		loop.Progress()
		if err != nil {
			loop.Failed(err)
			continue
		}
		// A cgroup in a container has the class of the container.
		if !at.Container.Contained() || at.Container.Level == at.Depth-1 {
			workers.Go(func() error { return c.lookUp(ctx, at, c.inUse()...) })
		}
	}
}

// lookUp classifies a cgroup for some sets, and looks up the names of its container while
// it is there. If that fails, it is done when a process in it is to be killed.
func (c *Checker) lookUp(ctx context.Context, at cgroup.Cgroup, sets ...*set) error {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	_, err := c.containers.Lookup(ctx, at.Container)
	if errors.Is(err, container.ErrNotContainer) {
		err = nil
	}
	for _, s := range sets {
		if _, err2 := c.classify(ctx, s, at); err == nil {
			err = err2 // not both: a line of the log has no line breaks in it
		}
	}
	if err != nil {
		c.log.Debug("cgroup not classified yet", "err", err)
	}
	return nil
}

// maxKnown is how many cgroups are classified again for other rules although no process is
// in them at that time.
const maxKnown = 4096

// remember keeps a cgroup for rules that come later.
func (c *Checker) remember(at cgroup.Cgroup) {
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

// survey classifies for a set, before ctx ends, the cgroups of all processes and those that
// were classified before.
func (c *Checker) survey(ctx context.Context, s *set) error {
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
			workers.Go(func() error { return c.lookUp(ctx, at, s) })
		}
	}
	return workers.Wait()
}
