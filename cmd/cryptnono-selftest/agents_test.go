package main

import (
	"context"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A node of a test has an agent at an address of its own; all have the same port.
type node struct {
	name, ip string
	phase    string // of its pod
	status   int    // of /readyz
	page     string // of /metrics
}

// cluster serves what an API server says of these nodes, and their agents. It returns the
// agents as this program reads them on the first node. test/kubernetes has a real one.
func cluster(t *testing.T, desired, updated int, nodes ...node) *agents {
	t.Helper()
	port := 0
	for _, n := range nodes {
		if n.ip == "" {
			continue
		}
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", fmt.Sprintf("%s:%d", n.ip, port))
		if err != nil {
			t.Fatal(err)
		}
		port = listener.Addr().(*net.TCPAddr).Port
		agent := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if got := r.Header.Get("Authorization"); got != "Bearer of the port" {
				http.Error(w, "got "+got, http.StatusUnauthorized)
				return
			}
			if r.URL.Path == "/readyz" {
				http.Error(w, "monero: not loaded", n.status)
				return
			}
			fmt.Fprint(w, n.page)
		}))
		agent.Listener = listener
		agent.Start()
		t.Cleanup(agent.Close)
	}
	var pods []string
	for _, n := range nodes {
		pods = append(pods, fmt.Sprintf(`{"metadata":{"name":"pod-%s"},"spec":{"nodeName":%q},"status":{"phase":%q,"podIP":%q}}`, n.name, n.name, n.phase, n.ip))
	}
	pods = append(pods, `{"metadata":{"name":"ending","deletionTimestamp":"2026-01-01T00:00:00Z"},"spec":{"nodeName":"z"}}`)
	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer secret":
			http.Error(w, "who?", http.StatusForbidden)
		case r.URL.Path == "/apis/apps/v1/namespaces/security/daemonsets/cryptnono":
			fmt.Fprintf(w, `{"metadata":{"generation":2},"spec":{"selector":{"matchLabels":{"b":"2","a":"1"}},"template":{"spec":{"containers":[{"ports":[{"containerPort":%d}]}]}}},
				"status":{"observedGeneration":2,"desiredNumberScheduled":%d,"updatedNumberScheduled":%d}}`, port, desired, updated)
		case r.URL.Path == "/api/v1/namespaces/security/pods" && r.URL.Query().Get("labelSelector") == "a=1,b=2":
			fmt.Fprintf(w, `{"items":[%s]}`, strings.Join(pods, ","))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(api.Close)
	address, err := url.Parse(api.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("AGENT_TOKEN", "of the port\n")
	t.Setenv("KUBERNETES_SERVICE_HOST", address.Hostname())
	t.Setenv("KUBERNETES_SERVICE_PORT", address.Port())
	dir := t.TempDir()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw})
	for name, text := range map[string][]byte{"ca.crt": ca, "token": []byte("secret\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, err := inCluster("security/cryptnono", nodes[0].name, dir)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func ready(name, ip string) node {
	return node{name: name, ip: ip, phase: "Running", status: 200, page: `cryptnono_build_info{version="1"} 1
cryptnono_verdicts_total{action="killed",detector="execwhacker",source="exec"} 3
cryptnono_verdicts_total{action="killed",detector="execwhacker",source="scan"} 1
cryptnono_verdicts_total{action="killed",detector="monero",source="sample"} 7
cryptnono_verdicts_total{action="exempt",detector="execwhacker",source="exec"} 2
cryptnono_verdicts_total{action="observed",detector="execwhacker",source="exec"} 5
`}
}

// Each case that is not well names what is wrong, and where.
func TestEachAgentMustBeReady(t *testing.T) {
	loading := ready("b", "127.0.0.3")
	loading.status = 503
	for name, c := range map[string]struct {
		desired, updated int
		nodes            []node
		want             string
	}{
		"all are":                        {2, 2, []node{ready("a", "127.0.0.2"), ready("b", "127.0.0.3")}, ""},
		"one is not":                     {2, 2, []node{ready("a", "127.0.0.2"), loading}, `pod-b on node "b": 503 Service Unavailable: monero: not loaded`},
		"one has no pod":                 {3, 3, []node{ready("a", "127.0.0.2"), ready("b", "127.0.0.3")}, "2 of 3 nodes have an agent that is ready"},
		"one waits for its image":        {2, 2, []node{ready("a", "127.0.0.2"), {name: "b", phase: "Pending"}}, `pod-b on node "b": its pod is Pending`},
		"an update is under way":         {2, 1, []node{ready("a", "127.0.0.2"), ready("b", "127.0.0.3")}, "1 of 2 agents are of the new version"},
		"two on a node do not count two": {2, 2, []node{ready("a", "127.0.0.2"), ready("a", "127.0.0.3")}, "1 of 2 nodes have an agent"},
		"no node is selected":            {0, 0, []node{{name: "a", phase: "Pending"}}, "0 of 0 nodes"},
	} {
		t.Run(name, func(t *testing.T) {
			a := cluster(t, c.desired, c.updated, c.nodes...)
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			nodes, err := a.allReady(ctx)
			switch {
			case c.want == "" && (err != nil || strings.Join(nodes, " ") != "a b"):
				t.Errorf("got %v, %v", nodes, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestTheVerdictsOfThisNodeAreThoseOfExecwhacker(t *testing.T) {
	a := cluster(t, 2, 2, ready("a", "127.0.0.2"), ready("b", "127.0.0.3"))
	if killed, alive, err := a.verdicts(t.Context()); killed != 4 || alive != 7 || err != nil {
		t.Errorf("killed %v, alive %v, %v", killed, alive, err)
	}
	a.node = "c"
	if _, _, err := a.verdicts(t.Context()); err == nil || !strings.Contains(err.Error(), `node "c" has no agent`) {
		t.Errorf("on a node without an agent: %v", err)
	}
}

func TestAVerdictThatTheAgentHasNotCountedIsOfAnother(t *testing.T) {
	a := cluster(t, 1, 1, ready("a", "127.0.0.2"))
	for _, c := range []struct {
		expect        string
		killed, alive float64 // before
		counted       bool
	}{
		{"killed", 3, 7, true},
		{"killed", 4, 6, false},
		{"alive", 4, 6, true},
		{"alive", 3, 7, false},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		err := a.counted(ctx, c.expect, c.killed, c.alive)
		cancel()
		if c.counted != (err == nil) || err != nil && !strings.Contains(err.Error(), "another agent may run there") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestAPodWithoutCredentialsIsToldSo(t *testing.T) {
	if _, err := inCluster("security/cryptnono", "a", t.TempDir()); err == nil || !strings.Contains(err.Error(), "service account") {
		t.Errorf("got %v", err)
	}
	if _, err := inCluster("cryptnono", "a", t.TempDir()); err == nil || !strings.Contains(err.Error(), "NAMESPACE/DAEMONSET") {
		t.Errorf("got %v", err)
	}
}
