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
	"os"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/container"
	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/process"
)

// Containers know containers by name. *container.Resolver does.
type Containers interface {
	Lookup(ctx context.Context, ref cgroup.ContainerRef) (*container.Container, error)
}

// Options are what a guard needs.
type Options struct {
	Policy     Policy
	Containers Containers
	Paths      cgroup.Parser
	// Root is the host's root directory, below which exempt programs are looked for.
	// Without it they are known by their paths alone.
	Root   *os.File
	Health *health.Monitor // may be nil
	Log    *slog.Logger
}

// A Guard is at work from Load to Close. It is safe for concurrent use.
type Guard struct {
	containers Containers
	paths      cgroup.Parser
	log        *slog.Logger
	root       *os.File
	host       bpfRoot // what init sees
	health     *health.Monitor

	objs    objects
	links   []link.Link
	list    *link.Iter
	events  *ringbuf.Reader
	listing sync.Mutex // one user of the programs that are run on demand at a time

	applying        sync.Mutex // one Apply at a time
	mu              sync.RWMutex
	current, before *set // in user space, and perhaps still in the kernel
	known           map[bpfCgroupKey]cgroup.Cgroup
}

// objects are what all policies share; policies is for take_kill alone.
type objects struct {
	NewCgroups      *ebpf.Map `ebpf:"new_cgroups"`
	Policies        *ebpf.Map `ebpf:"policies"`
	NodeBrake       *ebpf.Map `ebpf:"node_brake"`
	ContainerBrakes *ebpf.Map `ebpf:"container_brakes"`
	bpfPrograms
	bpfVariables
}

func (o *objects) close() error {
	programs := &o.bpfPrograms
	return errors.Join(programs.Close(), o.NewCgroups.Close(), o.Policies.Close(), o.NodeBrake.Close(),
		o.ContainerBrakes.Close())
}

// Load loads the programs and attaches them. From then on detectors may kill.
func Load(o Options) (*Guard, error) {
	g := &Guard{containers: o.Containers, paths: o.Paths, root: o.Root, log: o.Log, health: o.Health, known: make(map[bpfCgroupKey]cgroup.Cgroup)}
	if err := g.load(o.Policy); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

func (g *Guard) load(p Policy) error {
	spec, err := loadBpf()
	if err != nil {
		return fmt.Errorf("reading the guard object: %w", err)
	}
	if err := spec.LoadAndAssign(&g.objs, nil); err != nil {
		return fmt.Errorf("loading the guard programs: %w", err)
	}
	if g.events, err = ringbuf.NewReader(g.objs.NewCgroups); err != nil {
		return fmt.Errorf("opening the ring buffer of new cgroups: %w", err)
	}
	if g.list, err = link.AttachIter(link.IterOptions{Program: g.objs.ListProcesses}); err != nil {
		return fmt.Errorf("attaching the iterator of processes: %w", err)
	}
	// Before the cgroups that there are get judged, so that none is left out.
	made, err := link.AttachTracing(link.TracingOptions{Program: g.objs.TellCgroup})
	if err != nil {
		return fmt.Errorf("attaching to the tracepoint cgroup_mkdir: %w", err)
	}
	g.links = append(g.links, made)
	if ret, err := g.objs.FindHost.Run(&ebpf.RunOptions{}); err != nil || ret != 0 {
		return errors.Join(errors.New("asking the kernel what init sees"), err)
	}
	if err := g.objs.Host.Get(&g.host); err != nil {
		return fmt.Errorf("reading what init sees: %w", err)
	}
	return g.Apply(p)
}

// Maps returns those that the programs of detectors share, by their names in
// bpf/guard.h, for ebpf.CollectionOptions.MapReplacements: of the policy that was
// applied last.
func (g *Guard) Maps() map[string]*ebpf.Map {
	now := g.now()
	return map[string]*ebpf.Map{
		bpfMapCgroups:         now.cgroups,
		bpfMapExemptPrograms:  now.programs,
		bpfMapExemptFiles:     now.files,
		bpfMapPolicies:        now.policies,
		bpfMapNodeBrake:       g.objs.NodeBrake,
		bpfMapContainerBrakes: g.objs.ContainerBrakes,
	}
}

// Paths returns the parser of cgroup paths, for events that programs of detectors send.
func (g *Guard) Paths() cgroup.Parser { return g.paths }

// Host returns what init sees, for programs that list processes, which have a variable for
// it.
func (g *Guard) Host() any { return g.host }

// Processes lists those that run.
func (g *Guard) Processes() ([]process.Event, error) { return g.processes(0) }

// Run learns of cgroups, and tells of the brake, until ctx ends. It may be called
// once.
func (g *Guard) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		<-ctx.Done()
		return g.events.Close() // the end of a context does not wake a reader
	})
	for name, run := range map[string]func(context.Context, *health.Loop) error{
		"guard cgroups": g.learn, "guard files": g.followFiles, "guard brake": g.watchBrake,
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
	for _, s := range []*set{g.current, g.before} {
		if s != nil {
			errs = append(errs, s.close())
		}
	}
	return errors.Join(append(errs, g.objs.close())...)
}

// lookupTimeout bounds a look-up that nobody waits for.
const lookupTimeout = 2 * time.Second
