package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// quiet returns a resolver for the sockets of a directory. They are asked for
// containers inside as well.
func quiet(t *testing.T, root string, sockets ...string) *Resolver {
	t.Helper()
	r := NewResolver(Options{Sockets: sockets, InnerSockets: sockets, Root: root, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// listen makes a socket in a directory. Its address may be too long for the
// kernel.
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

// serveDocker answers as Docker does, for as long as the test lasts.
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

// anyID answers that there is a container of this id.
func anyID(w http.ResponseWriter, r *http.Request) {
	id := strings.Split(r.URL.Path, "/")[2]
	fmt.Fprintf(w, `{"Id": %q, "Name": "/of-%.8s", "Config": {"Image": "image"}}`, id, id)
}

func id(n int) string { return fmt.Sprintf("%064x", n) }

func TestARuntimeThatNeverAnswersHoldsNobodyUp(t *testing.T) {
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
			var log lockedBuffer
			r := NewResolver(Options{Sockets: []string{"/" + name}, Root: root, Log: slog.New(slog.NewTextHandler(&log, nil))})
			defer r.Close()
			path := expand("/kubepods/pod{uid}/{A}")

			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			began := time.Now()
			if _, err := r.Lookup(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			if took := time.Since(began); took < 50*time.Millisecond || took > 500*time.Millisecond {
				t.Errorf("it took %v", took)
			}
			// The question goes on, and ends.
			began = time.Now()
			if _, err := r.Lookup(t.Context(), path); !errors.Is(err, ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			if took := time.Since(began); took > 2*requestTimeout {
				t.Errorf("it took %v", took)
			}
			// Then the runtime is left alone for a while.
			began = time.Now()
			if _, err := r.Lookup(t.Context(), strings.Replace(path, idA, idB, 1)); !errors.Is(err, errResting) {
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

func TestTheDeadlineOfOneEndsNoOthersQuestion(t *testing.T) {
	root := t.TempDir()
	asked, answer := make(chan struct{}, 10), make(chan struct{})
	var questions atomic.Int32
	serveDocker(t, root, func(w http.ResponseWriter, r *http.Request) {
		questions.Add(1)
		asked <- struct{}{}
		<-answer
		anyID(w, r)
	})
	r := quiet(t, root, "/docker.sock")
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := r.Lookup(ctx, "/docker/"+idA); !errors.Is(err, context.Canceled) {
			t.Errorf("called off: %v", err)
		}
	})
	<-asked
	for range 10 {
		all.Go(func() {
			if c, err := r.Lookup(t.Context(), "/docker/"+idA); err != nil || c.ID != idA {
				t.Errorf("got %+v, %v", c, err)
			}
		})
	}
	cancel()
	time.Sleep(20 * time.Millisecond)
	close(answer)
	all.Wait()
	if n := questions.Load(); n != 1 {
		t.Errorf("the runtime was asked %d times", n)
	}
}

func TestARuntimeIsAskedAFewThingsAtOnce(t *testing.T) {
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
	for i := range 2 * maxOpen {
		all.Go(func() {
			for {
				_, err := r.Lookup(t.Context(), "/docker/"+id(i))
				if err == nil {
					return
				}
				if refused.Add(1); !errors.Is(err, ErrUnknown) {
					t.Error(err)
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	all.Wait()
	if n := most.Load(); n > maxRequests || n < 2 {
		t.Errorf("%d at once", n)
	}
	if refused.Load() == 0 {
		t.Error("all were asked for at once")
	}
}

func TestASocketMayComeLaterThroughLinksOfTheHost(t *testing.T) {
	root := t.TempDir()
	// As /var/run is on a host: absolute, so that it leads elsewhere when it is
	// not followed in the host's root.
	if err := os.MkdirAll(filepath.Join(root, "var"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/run", filepath.Join(root, "var/run")); err != nil {
		t.Fatal(err)
	}
	r := quiet(t, root, "/var/run/docker.sock")
	if _, err := r.Lookup(t.Context(), "/docker/"+idA); !errors.Is(err, ErrUnknown) {
		t.Errorf("without a socket: %v", err)
	}
	// A file that is no socket, as a container runtime makes of a mount of
	// something that is not there.
	run := filepath.Join(root, "run")
	if err := os.MkdirAll(filepath.Join(run, "docker.sock"), 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Lookup(t.Context(), "/docker/"+idB); !errors.Is(err, ErrUnknown) {
		t.Errorf("with a directory: %v", err)
	}
	if err := os.Remove(filepath.Join(run, "docker.sock")); err != nil {
		t.Fatal(err)
	}
	serveDocker(t, run, anyID)
	began := time.Now()
	eventually(t, "the container", func() bool {
		_, err := r.Lookup(t.Context(), "/docker/"+idA)
		return err == nil
	})
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestAnswersAreReadWithCare(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		status int
		want   string // of the error
	}{
		"no JSON":                  {"<html>", 200, "reading the answer"},
		"other types":              {`{"Id": 1}`, 200, "reading the answer"},
		"another container":        {`{"Id": "` + idB + `"}`, 200, ErrUnknown.Error()},
		"an empty object":          {`{}`, 200, ErrUnknown.Error()},
		"an error":                 {`{"message": "no"}`, 500, "answered 500"},
		"a way elsewhere":          {"", 302, "answered 302"},
		"more than a mebibyte":     {`{"Id": "` + idA + `", "x": "` + strings.Repeat("x", maxAnswerBytes) + `"}`, 200, "more than a mebibyte"},
		"no such container":        {`{"message": "no"}`, 404, ErrUnknown.Error()},
		"nesting that has no end":  {strings.Repeat("[", 100_000), 200, "reading the answer"},
		"labels that are no texts": {`{"Id": "` + idA + `", "Config": {"Labels": [1]}}`, 200, "reading the answer"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			serveDocker(t, root, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "http://elsewhere.example/")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.answer)
			})
			got, err := quiet(t, root, "/docker.sock").Lookup(t.Context(), "/docker/"+idA)
			if !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// A kubelet of 1.28 or later says how a pod's author wrote the image, and newer
// runtimes than Debian's remember it.
type newRuntime struct {
	criapi.UnimplementedRuntimeServiceServer
}

func (newRuntime) ListContainers(_ context.Context, r *criapi.ListContainersRequest) (*criapi.ListContainersResponse, error) {
	return &criapi.ListContainersResponse{Containers: []*criapi.Container{{
		Id: r.GetFilter().GetId(), PodSandboxId: idB, Metadata: &criapi.ContainerMetadata{Name: "web"},
		Image: &criapi.ImageSpec{Image: "sha256:0", UserSpecifiedImage: "registry.example/web:latest"},
	}}}, nil
}

func (newRuntime) ListPodSandbox(context.Context, *criapi.ListPodSandboxRequest) (*criapi.ListPodSandboxResponse, error) {
	return &criapi.ListPodSandboxResponse{Items: []*criapi.PodSandbox{{
		Id: idB, Metadata: &criapi.PodSandboxMetadata{Name: "web-0", Namespace: "shop", Uid: uid},
	}}}, nil
}

func TestTheImageIsNamedAsItsUserDid(t *testing.T) {
	root := t.TempDir()
	server := grpc.NewServer()
	criapi.RegisterRuntimeServiceServer(server, newRuntime{})
	l := listen(t, root, "crio.sock")
	var done sync.WaitGroup
	done.Go(func() { _ = server.Serve(l) })
	defer done.Wait()
	defer server.Stop()
	check(t, quiet(t, root, "/crio.sock"), expand("/kubepods/pod{uid}/{A}"), Container{
		ID: idA, Name: "web", Image: "registry.example/web:latest", Pod: "web-0", Namespace: "shop", PodUID: uid,
	})
}

func TestHostilePathsFillNoMemory(t *testing.T) {
	root := t.TempDir()
	serveDocker(t, root, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNotFound)
	})
	r := quiet(t, root, "/docker.sock")
	real := &Container{ID: idA, Name: "real"}
	r.outer.known.put("/"+idA, real, real.size())
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var all sync.WaitGroup
	const workers = 8
	for w := range workers {
		all.Go(func() {
			for i := w; i < 100_000; i += workers {
				path := "/docker/" + id(i)
				switch i % 3 {
				case 1: // inside of a real one
					path = "/docker/" + idA + "/docker/" + id(i)
				case 2:
					path = fmt.Sprintf("/kubepods/pod%064d/%s/%s", i, id(i), strings.Repeat("\x1b/", 500))
				}
				// Few are asked for, since others are on their way already.
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Microsecond)
				_, _ = r.Lookup(ctx, path)
				cancel()
			}
		})
	}
	all.Wait()
	r.outer.close() // the questions that are left
	r.inner.close()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("%d bytes more are in use", grown)
	}
	if n := r.outer.unknown.len(); n > maxContainers/4 {
		t.Errorf("%d unknown containers are remembered", n)
	}
	if got, ok := r.Cached("/docker/" + idA + "/docker/" + idB); !ok || got.Name != "real" {
		t.Errorf("the real one is forgotten: %+v", got)
	}
}

func TestContainersInsidePushOutNoOthers(t *testing.T) {
	root := t.TempDir()
	serveDocker(t, root, anyID)
	r := quiet(t, root, "/docker.sock")
	for i := range maxInner + 100 {
		got, err := r.Lookup(t.Context(), "/docker/"+idA+"/docker/"+id(i))
		if err != nil || got.Inner == nil || got.Inner.ID != id(i) {
			t.Fatalf("got %+v, %v", got, err)
		}
	}
	if got := value(t, r, "cryptnono_containers_known"); got != maxInner+1 {
		t.Errorf("%v are known", got)
	}
}

func TestAClosedResolverKnowsWhatItKnew(t *testing.T) {
	root := t.TempDir()
	serveDocker(t, root, anyID)
	r := quiet(t, root, "/docker.sock")
	if _, err := r.Lookup(t.Context(), "/docker/"+idA); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Lookup(t.Context(), "/docker/"+idA); err != nil {
		t.Errorf("what it knew: %v", err)
	}
	if _, err := r.Lookup(t.Context(), "/docker/"+idB); !errors.Is(err, ErrUnknown) {
		t.Errorf("something new: %v", err)
	}
	if _, err := r.Lookup(t.Context(), "/system.slice"); !errors.Is(err, ErrNone) {
		t.Errorf("nothing: %v", err)
	}
}

// value returns that of a metric with these values of labels, as a server of
// Prometheus sees it.
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

// A lockedBuffer may be read while a logger writes to it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
