// Package guard says who may be killed: it knows the exemptions, the brake, and
// which container each cgroup belongs to.
//
// Programs in the kernel that kill ask the same (bpf/guard.h), in maps that this
// package fills. It is told of each cgroup when it is made (guard.bpf.c), before
// anything runs in it, so that the kernel can nearly always decide on its own.
// Where it cannot, user space does: Exempt.
package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/container"
	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/process"
)

// Containers know the containers that cgroups belong to. *container.Resolver does.
type Containers interface {
	Parse(cgroup string) (container.Place, bool)
	Lookup(ctx context.Context, cgroup string) (*container.Container, error)
}

// Options are what a guard needs.
type Options struct {
	Policy     Policy
	Containers Containers
	Health     *health.Monitor // may be nil
	Log        *slog.Logger
}

// A Guard is at work from Load to Close. It is safe for concurrent use.
type Guard struct {
	containers Containers
	log        *slog.Logger
	health     *health.Monitor
	hostMounts uint32 // the host's mount namespace

	objs    objects
	links   []link.Link
	list    *link.Iter
	events  *ringbuf.Reader
	listing sync.Mutex // one reader of list at a time

	mu      sync.RWMutex
	policy  Policy
	version int           // counts policies
	changed chan struct{} // holds a token when the cgroups must be judged again
}

type objects struct {
	bpfMaps
	bpfPrograms
	bpfVariables
}

// Load loads the programs and attaches them. From then on detectors may kill.
func Load(o Options) (*Guard, error) {
	g := &Guard{containers: o.Containers, log: o.Log, health: o.Health, changed: make(chan struct{}, 1)}
	if err := g.load(o.Policy); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

func (g *Guard) load(p Policy) error {
	var err error
	if g.hostMounts, err = process.HostMounts(); err != nil {
		return err
	}
	spec, err := loadBpf()
	if err != nil {
		return fmt.Errorf("reading the guard object: %w", err)
	}
	if err := spec.LoadAndAssign(&g.objs, nil); err != nil {
		return fmt.Errorf("loading the guard programs: %w", err)
	}
	if err := g.Apply(p); err != nil {
		return err
	}
	if g.events, err = ringbuf.NewReader(g.objs.NewCgroups); err != nil {
		return fmt.Errorf("opening the ring buffer of new cgroups: %w", err)
	}
	if g.list, err = link.AttachIter(link.IterOptions{Program: g.objs.ListProcesses}); err != nil {
		return fmt.Errorf("attaching the iterator of processes: %w", err)
	}
	made, err := link.AttachTracing(link.TracingOptions{Program: g.objs.TellCgroup})
	if err != nil {
		return fmt.Errorf("attaching to the tracepoint cgroup_mkdir: %w", err)
	}
	g.links = append(g.links, made)
	return nil
}

// Maps returns those that the programs of detectors share, by their names in
// bpf/guard.h, for ebpf.CollectionOptions.MapReplacements.
func (g *Guard) Maps() map[string]*ebpf.Map {
	return map[string]*ebpf.Map{
		bpfMapCgroups:         g.objs.Cgroups,
		bpfMapExemptPrograms:  g.objs.ExemptPrograms,
		bpfMapPolicies:        g.objs.Policies,
		bpfMapNodeBrake:       g.objs.NodeBrake,
		bpfMapContainerBrakes: g.objs.ContainerBrakes,
	}
}

// Run learns of cgroups, and tells of the brake, until ctx ends. It may be called
// once.
func (g *Guard) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		<-ctx.Done()
		return g.events.Close() // the end of a context does not wake a reader
	})
	for name, run := range map[string]func(context.Context, *health.Loop) error{
		"guard cgroups": g.learn, "guard survey": g.survey, "guard brake": g.watchBrake,
	} {
		group.Go(func() error {
			loop := g.health.Loop(name, health.TurnAtMost)
			defer loop.End()
			return loop.Retry(ctx, func() error { return run(ctx, loop) })
		})
	}
	return group.Wait()
}

// Close detaches the programs and frees all that Load took. It does not wait for
// Run.
func (g *Guard) Close() error {
	var errs []error
	for _, l := range g.links {
		errs = append(errs, l.Close())
	}
	if g.list != nil {
		errs = append(errs, g.list.Close())
	}
	if g.events != nil {
		errs = append(errs, g.events.Close())
	}
	return errors.Join(append(errs, g.objs.bpfPrograms.Close(), g.objs.bpfMaps.Close())...)
}

// lookupTimeout bounds a look-up that nobody waits for.
const lookupTimeout = 2 * time.Second
