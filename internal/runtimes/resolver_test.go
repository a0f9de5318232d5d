package runtimes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/cryptnono/cryptnono/internal/container"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// quiet returns a resolver for Docker sockets below a directory, which are also nested
// sockets.
func quiet(t *testing.T, root string, sockets ...string) *Resolver {
	t.Helper()
	return open(t, Options{Sockets: sockets, NestedSockets: sockets, Root: root})
}

func open(t *testing.T, o Options) *Resolver {
	t.Helper()
	o.Log = slog.New(slog.DiscardHandler)
	r := NewResolver(o)
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// listen creates a socket in a directory, whose path can be too long for an address.
func listen(t *testing.T, root, name string) net.Listener {
	t.Helper()
	dir, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	l, err := net.Listen("unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name))
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	t.Cleanup(func() { l.Close() })
	return l
}

// serveDocker serves an API at docker.sock until the end of the test.
func serveDocker(t *testing.T, root string, handler http.HandlerFunc) {
	t.Helper()
	server := &http.Server{Handler: handler}
	var done sync.WaitGroup
	l := listen(t, root, "docker.sock")
	done.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() {
		server.Close()
		done.Wait()
	})
}

// anyID responds with a container of the requested id.
func anyID(w http.ResponseWriter, r *http.Request) {
	id := strings.Split(r.URL.Path, "/")[2]
	fmt.Fprintf(w, `{"Id": %q, "Name": "/of-%.8s", "Config": {"Image": "image"}}`, id, id)
}

func id(n int) string { return fmt.Sprintf("%064x", n) }

func TestARuntimeThatDoesNotAnswerDelaysALookupWithinBounds(t *testing.T) {
	for _, name := range []string{"docker.sock", "containerd.sock"} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			l := listen(t, root, name)
			var accepted sync.WaitGroup
			accepted.Go(func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					defer conn.Close()
				}
			})
			defer accepted.Wait()
			defer l.Close()
			var log testutil.Buffer
			r := NewResolver(Options{Sockets: []string{"/" + name}, Root: root, Log: slog.New(slog.NewTextHandler(&log, nil))})
			defer r.Close()
			path := "/kubepods/pod" + uid + "/" + idA

			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if _, err := r.Lookup(ctx, at(path)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			if took := time.Since(began); took < 50*time.Millisecond || took > 500*time.Millisecond {
				t.Errorf("it took %v", took)
			}
			// The call continues, and times out.
			began = time.Now()
			if _, err := r.Lookup(t.Context(), at(path)); !errors.Is(err, container.ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			if took := time.Since(began); took > 2*requestTimeout {
				t.Errorf("it took %v", took)
			}
			// Then there is no request for a while.
			began = time.Now()
			if _, err := r.Lookup(t.Context(), at(strings.Replace(path, idA, idB, 1))); !errors.Is(err, errBackoff) {
				t.Errorf("got %v", err)
			}
			if took := time.Since(began); took > requestTimeout/2 {
				t.Errorf("it took %v", took)
			}
			if got := log.String(); strings.Count(got, "container runtime does not answer") != 1 || strings.Count(got, "\n") != 1 {
				t.Errorf("logged %q", got)
			}
			kind := strings.NewReplacer("docker.sock", "docker", "containerd.sock", "cri").Replace(name)
			if got := value(t, r, "cryptnono_container_lookups_total", "timeout", kind); got != 2 {
				t.Errorf("counted %v", got)
			}
		})
	}
}

func TestConcurrentLookupsShareACallAndTheEndOfOneDoesNotEndIt(t *testing.T) {
	root := t.TempDir()
	requested, answer := make(chan struct{}, 10), make(chan struct{})
	var requests atomic.Int32
	serveDocker(t, root, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		requested <- struct{}{}
		<-answer
		anyID(w, r)
	})
	r := quiet(t, root, "/docker.sock")
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := r.Lookup(ctx, at("/docker/"+idA)); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	})
	<-requested
	for range 10 {
		all.Go(func() {
			if c, err := r.Lookup(t.Context(), at("/docker/"+idA)); err != nil || c.ID != idA {
				t.Errorf("got %+v, %v", c, err)
			}
		})
	}
	cancel()
	time.Sleep(20 * time.Millisecond)
	close(answer)
	all.Wait()
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestConcurrentRequestsToARuntimeAreLimited(t *testing.T) {
	root := t.TempDir()
	var now, most atomic.Int32
	serveDocker(t, root, func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		time.Sleep(10 * time.Millisecond)
		now.Add(-1)
		anyID(w, r)
	})
	r := quiet(t, root, "/docker.sock")
	var all sync.WaitGroup
	var refused atomic.Int32
	for i := range 2 * maxInflight {
		all.Go(func() {
			for {
				_, err := r.Lookup(t.Context(), at("/docker/"+id(i)))
				if err == nil {
					return
				}
				if refused.Add(1); !errors.Is(err, container.ErrUnknown) {
					t.Error(err)
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	all.Wait()
	if n := most.Load(); n > maxRequests || n < 2 {
		t.Errorf("%d concurrent requests", n)
	}
	if refused.Load() == 0 {
		t.Error("all lookups were concurrent")
	}
}

func TestASocketIsFoundWhenItIsCreatedAndThroughLinksOfTheHost(t *testing.T) {
	root := t.TempDir()
	// Like /var/run on a host: an absolute link, which must be resolved below root.
	if err := os.MkdirAll(filepath.Join(root, "var"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/run", filepath.Join(root, "var/run")); err != nil {
		t.Fatal(err)
	}
	r := quiet(t, root, "/var/run/docker.sock")
	if _, err := r.Lookup(t.Context(), at("/docker/"+idA)); !errors.Is(err, container.ErrUnknown) {
		t.Errorf("without a socket: %v", err)
	}
	// A directory, which container runtimes create for the mount of a missing file.
	run := filepath.Join(root, "run")
	if err := os.MkdirAll(filepath.Join(run, "docker.sock"), 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Lookup(t.Context(), at("/docker/"+idB)); !errors.Is(err, container.ErrUnknown) {
		t.Errorf("with a directory: %v", err)
	}
	if err := os.Remove(filepath.Join(run, "docker.sock")); err != nil {
		t.Fatal(err)
	}
	serveDocker(t, run, anyID)
	began := time.Now()
	testutil.Eventually(t, "the container", func() bool {
		_, err := r.Lookup(t.Context(), at("/docker/"+idA))
		return err == nil
	})
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
}

// crio responds like CRI-O 1.34, which stores the image as the pod specifies it (with a
// kubelet of 1.28 or later), and adds the labels of the sandbox container to those of the
// pod.
type crio struct {
	criapi.UnimplementedRuntimeServiceServer
}

func (crio) ListContainers(_ context.Context, r *criapi.ListContainersRequest) (*criapi.ListContainersResponse, error) {
	return &criapi.ListContainersResponse{Containers: []*criapi.Container{{
		Id: r.GetFilter().GetId(), PodSandboxId: idB, Metadata: &criapi.ContainerMetadata{Name: "web"},
		Image: &criapi.ImageSpec{Image: "sha256:0", UserSpecifiedImage: "registry.example/web:latest"},
	}}}, nil
}

func (crio) ListPodSandbox(context.Context, *criapi.ListPodSandboxRequest) (*criapi.ListPodSandboxResponse, error) {
	return &criapi.ListPodSandboxResponse{Items: []*criapi.PodSandbox{{
		Id: idB, Metadata: &criapi.PodSandboxMetadata{Name: "web-0", Namespace: "shop", Uid: uid},
		Labels: map[string]string{nameLabel: "POD", "app": "shop"},
	}}}, nil
}

func TestAContainerOfCRIOIsLookedUp(t *testing.T) {
	root := t.TempDir()
	server := grpc.NewServer()
	criapi.RegisterRuntimeServiceServer(server, crio{})
	l := listen(t, root, "crio.sock")
	var done sync.WaitGroup
	done.Go(func() { _ = server.Serve(l) })
	defer done.Wait()
	defer server.Stop()
	check(t, quiet(t, root, "/crio.sock"), "/kubepods/pod"+uid+"/"+idA, container.Container{
		ID: idA, Name: "web", Image: "registry.example/web:latest", Pod: "web-0", Namespace: "shop", PodUID: uid,
		Labels: map[string]string{nameLabel: "web", "app": "shop"},
	})
}

func TestAClosedResolverReturnsOnlyCachedContainers(t *testing.T) {
	root := t.TempDir()
	serveDocker(t, root, anyID)
	r := quiet(t, root, "/docker.sock")
	if _, err := r.Lookup(t.Context(), at("/docker/"+idA)); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Lookup(t.Context(), at("/docker/"+idA)); err != nil {
		t.Errorf("a cached container: %v", err)
	}
	if _, err := r.Lookup(t.Context(), at("/docker/"+idB)); !errors.Is(err, container.ErrUnknown) {
		t.Errorf("another container: %v", err)
	}
	if _, err := r.Lookup(t.Context(), at("/system.slice")); !errors.Is(err, container.ErrNotContainer) {
		t.Errorf("no container: %v", err)
	}
}

// value returns the value of a metric with these label values.
func value(t *testing.T, r *Resolver, name string, labels ...string) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(r.Collector())
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var got []string
			for _, l := range m.GetLabel() {
				got = append(got, l.GetValue())
			}
			if f.GetName() == name && slices.Equal(got, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s%v", name, labels)
	return 0
}
