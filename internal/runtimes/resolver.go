// Package runtimes looks up the containers and pods of cgroups in the container runtimes. It is apart from
// package container, so that only programs that do so have gRPC.
package runtimes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/container"
)

const (
	// Bounds of the cache, in containers and bytes. With the labels of an ordinary pod,
	// 4096 containers fit.
	maxContainers, maxBytes = 4096, 16 << 20
	// Nested containers have their own cache, so that a pod that makes up thousands of
	// them does not evict others.
	maxNested, maxNestedBytes = 512, 2 << 20
	// Concurrent lookups of containers, and of nested ones: fewer than maxRequests, so
	// that they leave slots for the others.
	maxInflight, maxNestedInflight = 64, 4
)

// DefaultSockets returns the sockets of known runtimes on a host.
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

// DefaultNestedSockets returns the sockets on a host of known runtimes that run in pods.
func DefaultNestedSockets() []string {
	return []string{
		"/var/run/dind/docker.sock", // Docker of BinderHub
		"/var/run/pink/podman.sock", // Podman of BinderHub
	}
}

// Options of a Resolver.
type Options struct {
	// Sockets are paths on the host; nil for DefaultSockets. A socket named docker.sock or
	// podman.sock is queried with Docker's API, all others with CRI. They need not exist
	// yet.
	Sockets []string
	// NestedSockets are sockets of runtimes that run in containers; nil for
	// DefaultNestedSockets. They are never queried for a pod's container, and for other
	// outermost containers only if no runtime of the host knows them.
	NestedSockets []string
	// Root is the host's root directory: "/proc/1/root" for an agent in a container. ""
	// is "/".
	Root string
	// Annotations are the names of annotations of pods that a Container has. Only CRI
	// runtimes have them.
	Annotations []string
	Log         *slog.Logger
}

// A Resolver looks up containers in the container runtimes, and caches them. It is safe
// for concurrent use.
type Resolver struct {
	cri, docker, nested []*backend
	cache, nestedCache  *cache
	metrics             *metrics
}

// NewResolver returns a resolver, which opens no socket before the first lookup. It must
// be closed.
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
		cache:       newCache(maxContainers, maxBytes, maxInflight),
		nestedCache: newCache(maxNested, maxNestedBytes, maxNestedInflight),
	}
	r.metrics = newMetrics(func() float64 { return float64(r.cache.len() + r.nestedCache.len()) })
	for _, path := range o.Sockets {
		b := newBackend(socket{root: o.Root, path: path}, o.Annotations, o.Log, r.metrics)
		if b.kind() == "docker" {
			r.docker = append(r.docker, b)
		} else {
			r.cri = append(r.cri, b)
		}
	}
	for _, path := range o.NestedSockets {
		r.nested = append(r.nested, newBackend(socket{o.Root, path, true}, nil, o.Log, r.metrics))
	}
	return r
}

// Cached returns a cached container; nil and true if ref has no container. It does not
// block.
func (r *Resolver) Cached(ref cgroup.ContainerRef) (*container.Container, bool) {
	if !ref.Contained() {
		return nil, true
	}
	outer, ok := r.cache.get(key(ref))
	if !ok || ref.Nested == "" {
		return outer, ok
	}
	nested, _ := r.nestedCache.get(nestedKey(ref))
	return withNested(outer, nested), true
}

// Lookup returns a container. It queries the runtimes if the container is not cached. It
// takes at most six seconds: two for each kind of runtime, and two for a nested container.
// The error is that of ctx, container.ErrNotContainer, or container.ErrUnknown, which is cached for a short time.
//
// A container stays cached after its end, and while its runtime does not answer. An
// unknown nested container is not an error.
func (r *Resolver) Lookup(ctx context.Context, ref cgroup.ContainerRef) (*container.Container, error) {
	if !ref.Contained() {
		return nil, container.ErrNotContainer
	}
	outer, err := r.cache.lookup(ctx, key(ref), func(ctx context.Context) (*container.Container, error) {
		return r.query(ctx, ref)
	})
	if err != nil || ref.Nested == "" {
		return outer, err
	}
	nested, _ := r.nestedCache.lookup(ctx, nestedKey(ref), func(ctx context.Context) (*container.Container, error) {
		return first(ctx, r.nested, ref.Nested, anyContainer)
	})
	return withNested(outer, nested), nil
}

// Collector returns the resolver's metrics.
func (r *Resolver) Collector() prometheus.Collector { return r.metrics }

// Close cancels all lookups. Later calls of Lookup return only cached containers.
func (r *Resolver) Close() error {
	r.cache.close()
	r.nestedCache.close()
	var errs []error
	for _, b := range slices.Concat(r.cri, r.docker, r.nested) {
		errs = append(errs, b.close())
	}
	return errors.Join(errs...)
}

// query queries the runtimes for the outermost container. For a container in a pod, it
// queries CRI runtimes first, because they know the pod's labels. The container must be of
// the pod in the cgroup's path: an id in the path can be fake.
func (r *Resolver) query(ctx context.Context, ref cgroup.ContainerRef) (*container.Container, error) {
	if ref.PodUID == "" {
		c, err := first(ctx, r.docker, ref.ID, anyContainer)
		if _, failed := errors.AsType[*lookupError](err); err == nil || failed {
			return c, err
		}
		// Docker in a pod with the host's cgroup namespace creates cgroups outside of the
		// pod's cgroup.
		return first(ctx, r.nested, ref.ID, anyContainer)
	}
	ofPod := func(c *container.Container) *container.Container {
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
	if _, failed := errors.AsType[*lookupError](otherErr); failed {
		return nil, otherErr
	}
	return nil, err
}

// anyContainer accepts all containers, without the data of a pod.
func anyContainer(c *container.Container) *container.Container { return withoutPod(c) }

// first queries all runtimes concurrently and returns the first container for which
// accept does not return nil. It waits until all requests have ended.
func first(ctx context.Context, of []*backend, id string, accept func(*container.Container) *container.Container) (*container.Container, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		container *container.Container
		err       error
	}
	results := make(chan result, len(of))
	for _, b := range of {
		go func() {
			c, err := b.lookup(ctx, id)
			results <- result{c, err}
		}()
	}
	var found *container.Container
	var errs []error
	for range of {
		res := <-results
		switch {
		case found != nil: // the others were cancelled
		case res.err == nil:
			if found = accept(res.container); found != nil {
				cancel()
			}
		case !errors.Is(res.err, container.ErrUnknown) && !errors.Is(res.err, errNoSocket):
			errs = append(errs, res.err)
		}
	}
	if found != nil {
		return found, nil
	}
	if err := errors.Join(errs...); err != nil {
		return nil, &lookupError{err}
	}
	return nil, fmt.Errorf("%w %.12s", container.ErrUnknown, id)
}

func key(ref cgroup.ContainerRef) string { return ref.PodUID + "/" + ref.ID }

func nestedKey(ref cgroup.ContainerRef) string { return key(ref) + "/" + ref.Nested }
