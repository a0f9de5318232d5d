package kubernetes

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// A received notification.
type received struct {
	line
	Source     string
	Kills      int
	Executable map[string]any
	Started    string `json:"started_at"`
	Decided    string `json:"decided_at"`
}

// A receiver gets notifications on the node.
type receiver struct {
	url string
	mu  sync.Mutex
	all []received
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := new(receiver)
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		got := received{line: line{raw: string(body)}}
		if err == nil && json.Unmarshal(body, &got) == nil {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.all = append(r.all, got)
		}
	})}
	listener, err := listenOnNode()
	if err != nil {
		t.Fatal(err)
	}
	r.url = "http://" + listener.Addr().String() + "/"
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
	return r
}

// listenOnNode listens in the network namespace of the node, which a socket keeps.
func listenOnNode() (net.Listener, error) {
	own, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return nil, err
	}
	defer own.Close()
	node, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", kube.node.Process.Pid))
	if err != nil {
		return nil, err
	}
	defer node.Close()
	// The thread must not end: the programs of the node that it has started would end with it
	// (PR_SET_PDEATHSIG). So it returns to its namespace.
	runtime.LockOSThread()
	if err := unix.Setns(int(node.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", nodeIP+":0")
	if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
		panic(err) // the thread cannot be used
	}
	runtime.UnlockOSThread()
	return l, err
}

// wait waits for a notification.
func (r *receiver) wait(t *testing.T, what string, want func(received) bool) (found received) {
	t.Helper()
	retry(t, what, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, got := range r.all {
			if want(got) {
				found = got
				return nil
			}
		}
		return errNotYet
	})
	return found
}

// A pod that starts a banned program in a loop is ended, one in an exempt namespace is not. A receiver
// is told who it was.
func TestRespond(t *testing.T) {
	const kills = 7
	_, _ = kube.kubectl("", "create", "namespace", "hub") // or it is there
	r := newReceiver(t)
	install(t, values(t, fmt.Sprintf(`detectors: {monero: {enabled: false}, hashwork: {enabled: false}}
escalation: {container: kill, containerKills: %d}
notify: {receivers: [{name: test, url: %q, each: true}]}`, kills, r.url)))
	agentPod(t)
	assign, use := spoken(selftest)
	script := assign + "; (while :; do /bin/echo " + use + "; done) >/dev/null 2>&1 & wait"
	for _, ns := range []string{"kube-system", "hub"} {
		must(t)(kube.kubectl(podManifest(ns, "loops", strangerImage, "/bin/sh", "-c", script), "apply", "--filename", "-"))
		t.Cleanup(func() { _, _ = kube.kubectl("", "delete", "pod", "--namespace", ns, "loops", "--now", "--wait=false") })
	}
	retry(t, "the end of the pod", func() error {
		p, err := loops("hub")
		if err == nil && p.Status.Phase != "Failed" {
			err = errNotYet
		} else if err == nil && exitCode(p) != 137 {
			t.Errorf("it ended with %d", exitCode(p))
		}
		return err
	})
	got := r.wait(t, "a notification of its end", func(n received) bool { return n.Detector == "escalation" })
	if got.Action != "killed" || got.Source != "container" || got.Kills < kills || got.Pod != "loops" || got.Namespace != "hub" || got.Container != "notebook" ||
		got.Annotations["hub.jupyter.org/username"] != "ada@example.com" || !strings.HasPrefix(got.Rule, "builtin/selftest.yaml:") ||
		got.Executable["inode"] == nil || got.Started == "" || got.Decided == "" {
		t.Errorf("%s", got.raw)
	}
	r.wait(t, "a notification of a kill", func(n received) bool {
		return n.Detector == "execwhacker" && n.Action == "killed" && n.Pod == "loops" && n.Namespace == "hub"
	})
	logLine(t, "what else runs there", func(l line) bool { return l.Msg == "evidence" && l.Pod == "loops" && l.Namespace == "hub" })
	logLine(t, "that the exempt one is spared", func(l line) bool { return l.Action == "spared" && l.Pod == "loops" && l.Namespace == "kube-system" })
	if p, err := loops("kube-system"); err != nil || p.Status.Phase != "Running" {
		t.Errorf("the exempt pod: %+v, %v", p.Status, err)
	}
	if t.Failed() {
		describeAgents(t)
	}
}

// loops returns the pod that starts a program in a loop.
func loops(ns string) (pod, error) {
	return decode[pod](kube.kubectl("", "get", "pod", "--namespace", ns, "loops", "--output", "json"))
}
