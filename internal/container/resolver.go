package container

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// maxContainers is how many containers are remembered, and maxBytes how
	// much memory they may take: with the labels of an ordinary pod, all of
	// them fit.
	maxContainers, maxBytes = 4096, 16 << 20
	// Those inside of others are apart: whoever makes them up by the thousand
	// pushes out no other.
	maxInner, maxInnerBytes = 512, 2 << 20
	// maxOpen is how many containers are asked for at once, and maxInnerOpen
	// how many of those inside; fewer than maxRequests, so that a runtime that
	// is asked for both has time for the others.
	maxOpen, maxInnerOpen = 64, 4
)

// DefaultSockets are the sockets of known runtimes, as the host has them.
func DefaultSockets() []string {
	return []string{
		"/run/containerd/containerd.sock",
		"/run/k3s/containerd/containerd.sock", // RKE2 too
		"/run/crio/crio.sock",
		"/run/k0s/containerd.sock",
		"/var/snap/microk8s/common/run/containerd.sock",
		"/run/cri-dockerd.sock",
		"/var/run/docker.sock",
		"/run/podman/podman.sock",
		"/var/run/dind/docker.sock", // BinderHub, Docker in a pod
		"/var/run/pink/podman.sock", // BinderHub, Podman in a pod
	}
}

// Options of a Resolver.
type Options struct {
	// Sockets are paths of the host; nil for DefaultSockets. Those named
	// docker.sock and podman.sock are asked as Docker is, all others by CRI.
	// They need not be there yet.
	Sockets []string
	// Root is the directory that is the host's root: "/proc/1/root" for an agent
	// in a container. "" is "/".
	Root string
	// Base is the cgroup of the node, if that is a container itself, as with
	// kind; see ParseBelow.
	Base string
	Log  *slog.Logger
}

// A Resolver tells containers by the paths of their cgroups. Many goroutines may
// use it at once.
type Resolver struct {
	base         string
	cri, docker  []*backend
	outer, inner *memory
	metrics      *metrics
}

// NewResolver returns a resolver, which opens nothing until it is asked. It is
// to be closed.
func NewResolver(o Options) *Resolver {
	if o.Sockets == nil {
		o.Sockets = DefaultSockets()
	}
	if o.Root == "" {
		o.Root = "/"
	}
	r := &Resolver{
		base:  o.Base,
		outer: newMemory(maxContainers, maxBytes, maxOpen),
		inner: newMemory(maxInner, maxInnerBytes, maxInnerOpen),
	}
	r.metrics = newMetrics(func() float64 { return float64(r.outer.len() + r.inner.len()) })
	for _, path := range o.Sockets {
		b := newBackend(socket{o.Root, path}, o.Log, r.metrics)
		if b.kind() == "docker" {
			r.docker = append(r.docker, b)
		} else {
			r.cri = append(r.cri, b)
		}
	}
	return r
}

// Parse is ParseBelow with the base of the options.
func (r *Resolver) Parse(path string) (Place, bool) { return ParseBelow(r.base, path) }

// Cached returns the container of a cgroup if that is known already. It never
// waits.
func (r *Resolver) Cached(path string) (*Container, bool) {
	p, ok := r.Parse(path)
	if !ok {
		return nil, false
	}
	outer, ok := r.outer.recall(p.key())
	if !ok || p.Inner == "" {
		return outer.container, ok
	}
	inner, _ := r.inner.recall(p.innerKey())
	return outer.container.holding(inner.container), true
}

// Lookup returns the container of a cgroup, asking the runtimes if it is not
// known yet. It returns when ctx ends, with the error of that, and after two
// seconds at the latest (three with a container inside). Other errors are
// ErrNone and ErrUnknown; the second is given without asking for a short time
// after it was found.
//
// What is known stays known when the container is gone and when the runtime
// does not answer. That the container inside is not known is no error.
func (r *Resolver) Lookup(ctx context.Context, path string) (*Container, error) {
	p, ok := r.Parse(path)
	if !ok {
		return nil, ErrNone
	}
	outer, err := r.outer.lookup(ctx, p.key(), func(ctx context.Context) (answer, error) {
		return r.find(ctx, p)
	})
	if err != nil || p.Inner == "" {
		return outer.container, err
	}
	inner, _ := r.inner.lookup(ctx, p.innerKey(), func(ctx context.Context) (answer, error) {
		return first(ctx, without(r.docker, outer.by), p.Inner, anyContainer)
	})
	return outer.container.holding(inner.container), nil
}

// Collector returns the resolver's metrics.
func (r *Resolver) Collector() prometheus.Collector { return r.metrics }

// Close ends what goes on. Lookup knows only what it knew, then.
func (r *Resolver) Close() error {
	r.outer.close()
	r.inner.close()
	var errs []error
	for _, b := range append(r.cri, r.docker...) {
		errs = append(errs, b.close())
	}
	return errors.Join(errs...)
}

// find asks for the outermost container of a place. That of a pod is asked of
// the runtimes of Kubernetes first, since they know the pod's labels, and has
// to be of the pod that its cgroup is in: an id alone could be borrowed.
func (r *Resolver) find(ctx context.Context, p Place) (answer, error) {
	if p.PodUID == "" {
		return first(ctx, r.docker, p.ID, anyContainer)
	}
	ofPod := func(c *Container) *Container {
		if c.PodUID != p.PodUID {
			return nil
		}
		return c
	}
	a, err := first(ctx, r.cri, p.ID, ofPod)
	if err == nil {
		return a, nil
	}
	a, otherErr := first(ctx, r.docker, p.ID, ofPod)
	if otherErr == nil {
		return a, nil
	}
	if _, failed := errors.AsType[*failure](otherErr); failed {
		return answer{}, otherErr
	}
	return answer{}, err
}

func anyContainer(c *Container) *Container { return c.outOfPods() }

// first asks all runtimes at once and returns the first answer that accept does
// not turn into nil. It waits for the end of all questions.
func first(ctx context.Context, of []*backend, id string, accept func(*Container) *Container) (answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		answer
		err error
	}
	results := make(chan result, len(of))
	for _, b := range of {
		go func() {
			c, err := b.find(ctx, id)
			results <- result{answer{c, b}, err}
		}()
	}
	var found answer
	var failures []error
	for range of {
		res := <-results
		switch {
		case found.container != nil:
		case res.err == nil:
			if c := accept(res.container); c != nil {
				found = answer{c, res.by}
				cancel()
			}
		case !errors.Is(res.err, ErrUnknown) && !errors.Is(res.err, errAbsent):
			failures = append(failures, res.err)
		}
	}
	if found.container != nil {
		return found, nil
	}
	if err := errors.Join(failures...); err != nil {
		return answer{}, &failure{err}
	}
	return answer{}, fmt.Errorf("%w %.12s", ErrUnknown, id)
}

func without(all []*backend, one *backend) []*backend {
	var out []*backend
	for _, b := range all {
		if b != one {
			out = append(out, b)
		}
	}
	return out
}

func (p Place) key() string { return p.PodUID + "/" + p.ID }

func (p Place) innerKey() string { return p.key() + "/" + p.Inner }

// holding returns c with the container inside of it, if that is known.
func (c *Container) holding(inner *Container) *Container {
	if inner == nil {
		return c
	}
	out := *c
	out.Inner = inner
	return &out
}
