// Package exempt finds the exemption that keeps a process from being killed.
//
// Programs in the kernel that kill read the same exemptions (bpf/exempt.h) in maps that this
// package fills. It classifies each cgroup when it is made, before anything runs in it, so
// the kernel can nearly always decide on its own. Otherwise user space does: Find.
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

// Containers know containers by name. *container.Resolver does.
type Containers interface {
	Lookup(ctx context.Context, ref cgroup.ContainerRef) (*container.Container, error)
}

// Options are what a Checker needs.
type Options struct {
	Rules      Rules
	Inventory  *inventory.Inventory
	Containers Containers
	// Root is the host's root directory, below which exempt programs are looked up.
	// Without it they are known by their paths alone.
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

	applying        sync.Mutex // one Apply at a time
	mu              sync.RWMutex
	current, before *set // in force, and perhaps still used by the kernel
	known           map[cgroup.Key]cgroup.Cgroup
}

// Load makes the maps of the exemptions, and classifies all cgroups that there are.
func Load(o Options) (*Checker, error) {
	c := &Checker{
		inventory: o.Inventory, containers: o.Containers, root: o.Root, health: o.Health, log: o.Log,
		known: make(map[cgroup.Key]cgroup.Cgroup),
	}
	if err := c.Apply(o.Rules); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// surveyTimeout is how long Apply waits for what container runtimes answer about the
// cgroups that there are. The rest is looked up when it matters.
const surveyTimeout = time.Second

// Apply replaces the exemptions, which must be valid. In user space they are in force when
// Apply returns; in the kernel, for programs that are loaded with what Maps returns then.
// All cgroups that there are have been classified by then. Equal rules change nothing.
func (c *Checker) Apply(r Rules) error {
	c.applying.Lock()
	defer c.applying.Unlock()
	if now := c.now(); now != nil && reflect.DeepEqual(now.rules, r) {
		return nil
	}
	next, err := c.newSet(r)
	if err != nil {
		return err
	}
	c.mu.Lock()
	last := c.before
	c.before, c.current = c.current, next // new cgroups are classified for both from here on
	c.mu.Unlock()
	if last != nil {
		err = last.close() // the programs that used it are gone
	}
	ctx, cancel := context.WithTimeout(context.Background(), surveyTimeout)
	defer cancel()
	return errors.Join(err, c.survey(ctx, next))
}

// Maps returns the maps that the programs of detectors share, by their names in
// bpf/exempt.h, for ebpf.CollectionOptions.MapReplacements: those of the rules that were
// applied last.
func (c *Checker) Maps() map[string]*ebpf.Map { return maps.Clone(c.now().maps) }

// Run classifies new cgroups, and follows the files of exempt programs, until ctx ends. It
// may be called once, and stops the inventory at its end.
func (c *Checker) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		<-ctx.Done()
		return c.inventory.Stop() // the end of a context does not wake a reader
	})
	for name, run := range map[string]func(context.Context, *health.Loop) error{
		"exemptions of cgroups": c.classifyNew, "exemptions of files": c.followFiles,
	} {
		group.Go(func() error {
			loop := c.health.Loop(name, health.DefaultLimit)
			defer loop.End()
			return loop.Retry(ctx, func() error { return run(ctx, loop) })
		})
	}
	return group.Wait()
}

// Close frees all that Load took. It does not wait for Run.
func (c *Checker) Close() error {
	var errs []error
	for _, s := range []*set{c.current, c.before} {
		if s != nil {
			errs = append(errs, s.close())
		}
	}
	return errors.Join(errs...)
}

// now returns the set in force.
func (c *Checker) now() *set {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.current
}

// inUse returns the set in force and the one before, which the kernel may still use.
func (c *Checker) inUse() []*set {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.before == nil {
		return []*set{c.current}
	}
	return []*set{c.current, c.before}
}
