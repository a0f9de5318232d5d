package runtimes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/container"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestHostilePathsNeedBoundedMemory(t *testing.T) {
	root := t.TempDir()
	serveDocker(t, root, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNotFound)
	})
	r := quiet(t, root, "/docker.sock")
	real := &container.Container{ID: idA, Name: "real"}
	r.cache.known.put("/"+idA, real, size(real))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var all sync.WaitGroup
	const workers = 8
	paths := testutil.Thorough(100_000)
	for w := range workers {
		all.Go(func() {
			for i := w; i < paths; i += workers {
				path := "/docker/" + id(i)
				switch i % 3 {
				case 1: // nested in a real container
					path = "/docker/" + idA + "/docker/" + id(i)
				case 2:
					path = fmt.Sprintf("/kubepods/pod%064d/%s/%s", i, id(i), strings.Repeat("\x1b/", 500))
				}
				// Few are queried, because of the limit of concurrent lookups.
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Microsecond)
				_, _ = r.Lookup(ctx, at(path))
				cancel()
			}
		})
	}
	all.Wait()
	r.cache.close() // end the remaining lookups
	r.nestedCache.close()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("%d bytes more are in use", grown)
	}
	if n := r.cache.unknown.len(); n > maxContainers/4 {
		t.Errorf("%d unknown containers are cached", n)
	}
	if got, ok := r.Cached(at("/docker/" + idA + "/docker/" + idB)); !ok || got.Name != "real" {
		t.Errorf("the real container was evicted: %+v", got)
	}
}

func TestNestedContainersDoNotEvictOthers(t *testing.T) {
	root := t.TempDir()
	serveDocker(t, root, anyID)
	r := quiet(t, root, "/docker.sock")
	for i := range maxNested + 100 {
		got, err := r.Lookup(t.Context(), at("/docker/"+idA+"/docker/"+id(i)))
		if err != nil || got.Nested == nil || got.Nested.ID != id(i) {
			t.Fatalf("got %+v, %v", got, err)
		}
	}
	if got := value(t, r, "cryptnono_containers_known"); got != maxNested+1 {
		t.Errorf("%v are cached", got)
	}
}

func TestInvalidResponsesAreErrors(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		status int
		want   string // of the error
	}{
		"not JSON":                 {"<html>", 200, "decoding the response"},
		"wrong types":              {`{"Id": 1}`, 200, "decoding the response"},
		"another container":        {`{"Id": "` + idB + `"}`, 200, container.ErrUnknown.Error()},
		"an empty object":          {`{}`, 200, container.ErrUnknown.Error()},
		"an error":                 {`{"message": "no"}`, 500, "response status 500"},
		"a redirect":               {"", 302, "response status 302"},
		"more than a mebibyte":     {`{"Id": "` + idA + `", "x": "` + strings.Repeat("x", maxResponseBytes) + `"}`, 200, "more than 1 MiB"},
		"no such container":        {`{"message": "no"}`, 404, container.ErrUnknown.Error()},
		"deep nesting":             {strings.Repeat("[", 100_000), 200, "decoding the response"},
		"labels that are not text": {`{"Id": "` + idA + `", "Config": {"Labels": [1]}}`, 200, "decoding the response"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			serveDocker(t, root, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "http://elsewhere.example/")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.answer)
			})
			got, err := quiet(t, root, "/docker.sock").Lookup(t.Context(), at("/docker/"+idA))
			if !errors.Is(err, container.ErrUnknown) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// Any process in a pod can replace the socket of a runtime there.
func TestErrorsOfARuntimeArePrintable(t *testing.T) {
	const hostile = "\x1b[31m\u009b2J\u202e\\x1b" + "\xff"
	for name, answer := range map[string]string{
		"the status line":    "HTTP/1.1 500 " + hostile + "\r\n\r\n",
		"an invalid line":    hostile + "\r\n\r\n",
		"a header":           "HTTP/1.1 200 OK\r\n" + hostile + "\r\n\r\n",
		"a length":           "HTTP/1.1 200 OK\r\nContent-Length: " + hostile + "\r\n\r\n",
		"an object":          "HTTP/1.1 200 OK\r\n\r\n{\"" + hostile + "\": " + hostile + "}",
		"a long status line": "HTTP/1.1 500 " + strings.Repeat(hostile, 1000) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			l := listen(t, root, "docker.sock")
			var done sync.WaitGroup
			done.Go(func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = io.WriteString(conn, answer)
					conn.Close()
				}
			})
			defer done.Wait()
			defer l.Close()
			var log testutil.Buffer
			r := NewResolver(Options{Sockets: []string{"/docker.sock"}, NestedSockets: []string{}, Root: root, Log: slog.New(slog.NewJSONHandler(&log, nil))})
			defer r.Close()
			_, err := r.Lookup(t.Context(), at("/docker/"+idA))
			if !errors.Is(err, container.ErrUnknown) {
				t.Fatalf("got %v", err)
			}
			for what, text := range map[string]string{"error": err.Error(), "log": strings.TrimSpace(log.String())} {
				if len(text) > 2*maxErrorBytes {
					t.Errorf("%s of %d bytes", what, len(text))
				}
				if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Errorf("%s: %q", what, text)
				}
			}
			if !strings.Contains(log.String(), "container runtime does not answer") {
				t.Errorf("logged %q", log.String())
			}
		})
	}
}

func TestNoLookupIsNeededOutsideOfContainers(t *testing.T) {
	r := new(Resolver)
	for _, path := range []string{"/", "/user.slice/user-1000.slice/session-3.scope", "/system.slice/cron.service"} {
		if c, known := r.Cached(at(path)); c != nil || !known {
			t.Errorf("%s: %v, %v", path, c, known)
		}
	}
}

// at returns the container that a path leads to.
func at(path string) cgroup.ContainerRef { return new(cgroup.Parser).Parse(path) }

// Ids of the usual form: 64 hexadecimal digits.
var (
	idA = strings.Repeat("0123456789abcdef", 4)
	idB = strings.Repeat("fedcba9876543210", 4)
)

const (
	uid        = "4a1b2c3d-0001-4aaa-8bbb-0123456789ab"
	uidSystemd = "4a1b2c3d_0001_4aaa_8bbb_0123456789ab"
	staticUID  = "c4e1d7a8b9f00123456789abcdef0123"
)
