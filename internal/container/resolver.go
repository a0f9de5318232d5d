package container

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cryptnono/cryptnono/internal/cgroup"
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

// DefaultSockets are the sockets of known runtimes on a host.
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
	}
}

// DefaultNestedSockets are those through which a host reaches known runtimes that
// run in pods.
func DefaultNestedSockets() []string {
	return []string{
		"/var/run/dind/docker.sock", // Docker of BinderHub
		"/var/run/pink/podman.sock", // Podman of BinderHub
	}
}

// Options of a Resolver.
type Options struct {
	// Sockets are paths of the host; nil for DefaultSockets. Those named
	// docker.sock and podman.sock are asked as Docker is, all others by CRI.
	// They need not be there yet.
	Sockets []string
	// NestedSockets are the same of runtimes that run in containers themselves;
	// nil for DefaultNestedSockets. They are never asked for a pod's container,
	// and for others in no container only if no runtime of the host knows them.
	NestedSockets []string
	// Root is the directory that is the host's root: "/proc/1/root" for an agent
	// in a container. "" is "/".
	Root string
	Log  *slog.Logger
}

// A Resolver tells containers by the paths of their cgroups. Many goroutines may
// use it at once.
type Resolver struct {
	cri, docker, inside []*backend
	outer, inner        *memory
	metrics             *metrics
}

// NewResolver returns a resolver, which opens nothing until it is asked. It is
// to be closed.
func NewResolver(o Options) *Resolver {
	if o.Sockets == nil {
		o.Sockets = DefaultSockets()
	}
	if o.NestedSockets == nil {
		o.NestedSockets = DefaultNestedSockets()
	}
	if o.Root == "" {
		o.Root = "/"
	}
	r := &Resolver{
		outer: newMemory(maxContainers, maxBytes, maxOpen),
		inner: newMemory(maxInner, maxInnerBytes, maxInnerOpen),
	}
	r.metrics = newMetrics(func() float64 { return float64(r.outer.len() + r.inner.len()) })
	for _, path := range o.Sockets {
		b := newBackend(socket{root: o.Root, path: path}, o.Log, r.metrics)
		if b.kind() == "docker" {
			r.docker = append(r.docker, b)
		} else {
			r.cri = append(r.cri, b)
		}
	}
	for _, path := range o.NestedSockets {
		r.inside = append(r.inside, newBackend(socket{o.Root, path, true}, o.Log, r.metrics))
	}
	return r
}

// Cached returns a container that is known already, nil without one in ref. It never
// waits.
func (r *Resolver) Cached(ref cgroup.ContainerRef) (*Container, bool) {
	if !ref.Contained() {
		return nil, true
	}
	outer, ok := r.outer.recall(key(ref))
	if !ok || ref.Nested == "" {
		return outer, ok
	}
	inner, _ := r.inner.recall(nestedKey(ref))
	return outer.holding(inner), true
}

// Lookup returns a container, asking the runtimes if it is not known yet. It returns when ctx ends, with the error of that, and after six
// seconds at the latest: two for each of the kinds of runtime, and two for a
// container inside. Other errors are ErrNone and ErrUnknown; the second is given
// without asking for a short time after it was found.
//
// What is known stays known when the container is gone and when the runtime
// does not answer. That the container inside is not known is no error.
func (r *Resolver) Lookup(ctx context.Context, ref cgroup.ContainerRef) (*Container, error) {
	if !ref.Contained() {
		return nil, ErrNone
	}
	outer, err := r.outer.lookup(ctx, key(ref), func(ctx context.Context) (*Container, error) {
		return r.find(ctx, ref)
	})
	if err != nil || ref.Nested == "" {
		return outer, err
	}
	inner, _ := r.inner.lookup(ctx, nestedKey(ref), func(ctx context.Context) (*Container, error) {
		return first(ctx, r.inside, ref.Nested, anyContainer)
	})
	return outer.holding(inner), nil
}

// Collector returns the resolver's metrics.
func (r *Resolver) Collector() prometheus.Collector { return r.metrics }

// Close ends what goes on. Lookup knows only what it knew, then.
func (r *Resolver) Close() error {
	r.outer.close()
	r.inner.close()
	var errs []error
	for _, b := range slices.Concat(r.cri, r.docker, r.inside) {
		errs = append(errs, b.close())
	}
	return errors.Join(errs...)
}

// find asks for the outermost container. That of a pod is asked of
// the runtimes of Kubernetes first, since they know the pod's labels, and has
// to be of the pod that its cgroup is in: an id alone could be borrowed.
func (r *Resolver) find(ctx context.Context, ref cgroup.ContainerRef) (*Container, error) {
	if ref.PodUID == "" {
		c, err := first(ctx, r.docker, ref.ID, anyContainer)
		if _, failed := errors.AsType[*failure](err); err == nil || failed {
			return c, err
		}
		// Docker in a pod may make cgroups outside of it, where the pod has
		// the host's cgroup namespace.
		return first(ctx, r.inside, ref.ID, anyContainer)
	}
	ofPod := func(c *Container) *Container {
		if c.PodUID != ref.PodUID {
			return nil
		}
		return c
	}
	c, err := first(ctx, r.cri, ref.ID, ofPod)
	if err == nil {
		return c, nil
	}
	c, otherErr := first(ctx, r.docker, ref.ID, ofPod)
	if otherErr == nil {
		return c, nil
	}
	if _, failed := errors.AsType[*failure](otherErr); failed {
		return nil, otherErr
	}
	return nil, err
}

// anyContainer accepts each, as one that is in no pod.
func anyContainer(c *Container) *Container { return c.outOfPods() }

// first asks all runtimes at once and returns the first answer that accept does
// not turn into nil. It waits for the end of all questions.
func first(ctx context.Context, of []*backend, id string, accept func(*Container) *Container) (*Container, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		container *Container
		err       error
	}
	results := make(chan result, len(of))
	for _, b := range of {
		go func() {
			c, err := b.find(ctx, id)
			results <- result{c, err}
		}()
	}
	var found *Container
	var failures []error
	for range of {
		res := <-results
		switch {
		case found != nil: // the others were called off
		case res.err == nil:
			if found = accept(res.container); found != nil {
				cancel()
			}
		case !errors.Is(res.err, ErrUnknown) && !errors.Is(res.err, errAbsent):
			failures = append(failures, res.err)
		}
	}
	if found != nil {
		return found, nil
	}
	if err := errors.Join(failures...); err != nil {
		return nil, &failure{err}
	}
	return nil, fmt.Errorf("%w %.12s", ErrUnknown, id)
}

func key(ref cgroup.ContainerRef) string { return ref.PodUID + "/" + ref.ID }

func nestedKey(ref cgroup.ContainerRef) string { return key(ref) + "/" + ref.Nested }

// holding returns c with the container inside of it, if that is known.
func (c *Container) holding(inner *Container) *Container {
	if inner == nil {
		return c
	}
	out := *c
	out.Inner = inner
	return &out
}
