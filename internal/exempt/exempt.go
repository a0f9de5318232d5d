// Package exempt finds the exemption that keeps a process from being killed.
//
// It writes the exemptions to maps, where kernel programs that kill read them (bpf/exempt.h).
// It classifies each cgroup when it is created, usually before a process runs in it, so that
// the kernel can nearly always decide alone. Otherwise user space decides with Find.
package exempt

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"reflect"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/container"
	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/inventory"
)

// Containers looks up containers. *runtimes.Resolver implements it.
type Containers interface {
	Lookup(ctx context.Context, ref cgroup.ContainerRef) (*container.Container, error)
}

// Options are the parameters of Load.
type Options struct {
	Rules      Rules
	Inventory  *inventory.Inventory
	Containers Containers
	// Root is the host's root directory, below which the files of exempt programs are looked
	// up. If it is nil, they are exempt by their paths only.
	Root   *os.File
	Health *health.Monitor // may be nil
	Log    *slog.Logger
}

// A Checker finds exemptions from Load to Close. It is safe for concurrent use.
type Checker struct {
	inventory  *inventory.Inventory
	containers Containers
	root       *os.File
	health     *health.Monitor
	log        *slog.Logger
	lookups    lookups

	applying          sync.Mutex // one Apply at a time
	mu                sync.RWMutex
	current, previous *set // kernel programs may still use previous
	known             map[cgroup.Key]cgroup.Cgroup
	logged            map[string]time.Time // when a path was last logged whose file cannot be looked up
}

// Load creates the maps of the exemptions and classifies the existing cgroups.
func Load(o Options) (*Checker, error) {
	c := &Checker{
		inventory: o.Inventory, containers: o.Containers, root: o.Root, health: o.Health, log: o.Log,
		known: make(map[cgroup.Key]cgroup.Cgroup), logged: make(map[string]time.Time),
	}
	if err := c.Apply(o.Rules); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// classifyTimeout bounds the time for which Apply classifies the existing cgroups. Find
// classifies the others when needed.
const classifyTimeout = time.Second

// Apply replaces the exemptions, which must be valid. In user space they are in force when
// Apply returns. In the kernel they are in force for programs that are loaded with the maps
// that Maps returns from then on. Before Apply returns it classifies the existing cgroups,
// within classifyTimeout. Equal rules change nothing. A path of a program whose file cannot be looked up,
// or not in a second, is no error: see Rules.
func (c *Checker) Apply(r Rules) error {
	if c.applies(r) {
		return nil
	}
	found := c.lookUp(context.Background(), r.Programs) // may take a second: not with the lock
	c.applying.Lock()
	defer c.applying.Unlock()
	if c.applies(r) {
		return nil
	}
	next, err := c.newSet(r, found)
	if err != nil {
		return err
	}
	c.mu.Lock()
	last := c.previous
	c.previous, c.current = c.current, next // new cgroups are classified for both from here on
	c.mu.Unlock()
	if last != nil {
		err = last.close() // no kernel program uses it any more
	}
	ctx, cancel := context.WithTimeout(context.Background(), classifyTimeout)
	defer cancel()
	return errors.Join(err, c.classifyExisting(ctx, next))
}

// Maps returns the maps of the current rules by their names in bpf/exempt.h, for
// ebpf.CollectionOptions.MapReplacements.
func (c *Checker) Maps() map[string]*ebpf.Map { return maps.Clone(c.now().maps) }

// Run classifies new cgroups and keeps the files of exempt programs up to date until ctx
// ends. It may be called once, and stops the inventory when ctx ends.
func (c *Checker) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		<-ctx.Done()
		return c.inventory.Stop() // the end of a context does not wake a reader
	})
	for name, run := range map[string]func(context.Context, *health.Loop) error{
		"exemptions of cgroups": c.classifyNew, "exemptions of files": c.watchFiles,
	} {
		group.Go(func() error {
			loop := c.health.Loop(name, health.DefaultLimit)
			defer loop.End()
			return loop.Retry(ctx, func() error { return run(ctx, loop) })
		})
	}
	return group.Wait()
}

// Close frees the maps. It does not wait for Run, nor for file systems that do not answer.
func (c *Checker) Close() error {
	c.lookups.finish()
	var errs []error
	for _, s := range []*set{c.current, c.previous} {
		if s != nil {
			errs = append(errs, s.close())
		}
	}
	return errors.Join(errs...)
}

// applies reports whether these are the exemptions in force.
func (c *Checker) applies(r Rules) bool {
	now := c.now()
	return now != nil && reflect.DeepEqual(now.rules, r)
}

// now returns the set in force.
func (c *Checker) now() *set {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.current
}

// inUse returns the current set and the previous one, which the kernel may still use.
func (c *Checker) inUse() []*set {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.previous == nil {
		return []*set{c.current}
	}
	return []*set{c.current, c.previous}
}
