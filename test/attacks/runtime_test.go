package attacks

import (
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/test/agenttest"
)

// podNames are a runtime's data about a container in a pod.
type podNames struct {
	namespace string
	label     string // KEY=VALUE
}

// startRuntime serves the part of Docker's Engine API that the agent uses, for containers with
// these ids. It returns the socket. If hold is not nil, each response waits until it is closed.
func startRuntime(t *testing.T, pods map[string]podNames, hold <-chan struct{}) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containers/{id}/json", func(w http.ResponseWriter, r *http.Request) {
		if hold != nil {
			select {
			case <-hold:
			case <-r.Context().Done():
				return
			}
		}
		p, ok := pods[r.PathValue("id")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		labels := map[string]string{
			"io.kubernetes.pod.namespace": p.namespace,
			"io.kubernetes.pod.name":      "some-pod",
			"io.kubernetes.pod.uid":       agenttest.PodUID,
		}
		if key, value, ok := strings.Cut(p.label, "="); ok {
			labels[key] = value
		}
		_ = json.NewEncoder(w).Encode(map[string]any{
			"Id": r.PathValue("id"), "Name": "/some-container",
			"Config": map[string]any{"Image": "some-image", "Labels": labels},
		})
	})
	server := http.Server{Handler: mux}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
	return socket
}
