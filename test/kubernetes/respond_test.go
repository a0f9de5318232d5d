package kubernetes

import (
	"context"
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
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/test/agenttest"
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
	listener, url := listenOnNode(t)
	r.url = url
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
	return r
}

// onNode calls f in the network namespace of the node, which the sockets that it opens keep.
func onNode[T any](f func() (T, error)) (result T, err error) {
	own, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return result, err
	}
	defer own.Close()
	node, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", kube.node.Process.Pid))
	if err != nil {
		return result, err
	}
	defer node.Close()
	// The thread must not end: the programs of the node that it has started would end with it
	// (PR_SET_PDEATHSIG). So it returns to its namespace.
	runtime.LockOSThread()
	if err := unix.Setns(int(node.Fd()), unix.CLONE_NEWNET); err != nil {
		return result, err
	}
	result, err = f()
	if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
		panic(err) // the thread cannot be used
	}
	runtime.UnlockOSThread()
	return result, err
}

// listenOnNode listens on the node until the test ends, and returns a URL.
func listenOnNode(t *testing.T) (l net.Listener, url string) {
	t.Helper()
	l, err := onNode(func() (net.Listener, error) { return net.Listen("tcp", nodeIP+":0") })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, "http://" + l.Addr().String() + "/"
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

// newFailing returns the URLs of receivers that fail, by name.
func newFailing(t *testing.T) map[string]string {
	t.Helper()
	_, hangs := listenOnNode(t) // the kernel accepts connections
	refuses, url := listenOnNode(t)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "full", http.StatusInternalServerError) })}
	go func() { _ = server.Serve(refuses) }()
	t.Cleanup(func() { server.Close() })
	gone, nowhere := listenOnNode(t)
	gone.Close()
	return map[string]string{"hangs": hangs, "error": url, "gone": nowhere}
}

const onlyCommands = "detectors: {monero: {enabled: false}, hashwork: {enabled: false}%s}\n"

// A pod that starts a banned program in a loop is ended, one in an exempt namespace is not. A receiver
// is told who it was, next to some that fail.
func TestRespond(t *testing.T) {
	const kills = 7
	_, _ = kube.kubectl("", "create", "namespace", "hub") // or it is there
	r, failing := newReceiver(t), newFailing(t)
	settings := func(timeout string) string {
		text := fmt.Sprintf(onlyCommands+"escalation: {container: kill, containerKills: %d}\nnotify:\n  receivers:\n  - {name: test, url: %q, each: true}\n", "", kills, r.url)
		for name, url := range failing {
			text += fmt.Sprintf("  - {name: %s, url: %q, each: true, timeout: %s}\n", name, url, timeout)
		}
		return text
	}
	install(t, values(t, settings("1s")))
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
	if os.Getenv("SOAK") != "" { // make test-kubernetes RUN=Respond
		failuresAreCounted(t, settings, failing)
		t.Run("the kill limit", theKillLimitHolds)
	}
	if t.Failed() {
		describeAgents(t)
	}
}

// failuresAreCounted checks that kills are in time while receivers fail, and what these lose.
func failuresAreCounted(t *testing.T, settings func(timeout string) string, failing map[string]string) {
	assign, use := spoken(selftest)
	p, out := runPod(t, "hub", "in-time", assign+"; for i in 1 2 3 4 5; do /bin/echo "+use+"; done; /bin/echo end")
	if exitCode(p) != 0 || strings.Contains(out, selftest) || !strings.Contains(out, "end\n") {
		t.Errorf("with receivers that fail, a pod ended with %d and wrote %q", exitCode(p), out)
	}
	for name := range failing {
		retry(t, "a failure of "+name, func() error {
			if n := value(t, fmt.Sprintf("cryptnono_notification_attempts_failed_total{receiver=%q}", name)); n == "0" {
				return errNotYet
			}
			return nil
		})
	}
	install(t, values(t, settings("2s"))) // what waited for them is lost
	for name := range failing {
		retry(t, "losses of "+name, func() error {
			if n := value(t, fmt.Sprintf("cryptnono_notifications_lost_total{receiver=%q}", name)); n == "0" {
				return errNotYet
			}
			return nil
		})
	}
	if n := value(t, `cryptnono_notifications_lost_total{receiver="test"}`); n != "0" {
		t.Errorf("the other one has lost %s", n)
	}
}

// theKillLimitHolds checks that one pod with a storm stops no rule for others, that a rule that hits
// many containers is stopped and others go on, and who can read that.
func theKillLimitHolds(t *testing.T) {
	const victims, token, files = 5, "respond-token", 30
	storm, wrong := agenttest.NewWord()+".x", agenttest.NewWord()+".x"
	apply(t, fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: port, namespace: %s}\nstringData: {token: %s}\n", namespace, token))
	install(t, values(t, fmt.Sprintf(onlyCommands+"killLimit: {victims: %d}\nmetrics: {tokenSecret: port}\n",
		fmt.Sprintf(", execwhacker: {configs: {respond: {bannedCommandStrings: [%s, %s]}}}", storm, wrong), victims)))
	t.Cleanup(func() {
		must(t)(kube.helm("", "uninstall", release, "--namespace", namespace, "--wait", "--timeout", "1m"))
	})
	agentPod(t)

	assign, use := spoken(storm)
	must(t)(kube.kubectl(podManifest("hub", "storm", strangerImage, "/bin/sh", "-c", fmt.Sprintf(`%s
i=0; while [ $i -lt %d ]; do i=$((i+1)); /bin/busybox mkdir -p /tmp/$i; /bin/busybox cp /bin/busybox /tmp/$i/echo; done
while :; do for f in /tmp/*/echo; do $f %s & done; wait; done >/dev/null 2>&1`, assign, files, use)), "apply", "--filename", "-"))
	t.Cleanup(func() {
		_, _ = kube.kubectl("", "delete", "pod", "--namespace", "hub", "storm", "--now", "--wait=false")
	})
	count := func() (n int) {
		_, page := ask(t, "/metrics", token)
		_, _ = fmt.Sscan(find(page, `cryptnono_execwhacker_processes_killed_total{source="exec"}`), &n)
		return n
	}
	retry(t, "a storm", func() error {
		if count() < 1000 {
			return errNotYet
		}
		return nil
	})
	dies(t, storm)
	if status, page := ask(t, "/readyz", ""); status != http.StatusOK {
		t.Errorf("after a storm the agent is not ready: %s", page)
	}
	t.Logf("%d kills", count())
	must(t)(kube.kubectl("", "delete", "pod", "--namespace", "hub", "storm", "--now", "--wait=false"))

	const many = 20
	manifest := podManifest("hub", "many", strangerImage, "/bin/sh", "-c", says(wrong))
	head, one, _ := strings.Cut(manifest, "containers: [")
	one = strings.TrimSuffix(strings.TrimSpace(one), "]")
	var containers []string
	for i := range many {
		containers = append(containers, strings.Replace(one, "name: notebook", fmt.Sprintf("name: c%d", i), 1))
	}
	must(t)(kube.kubectl(head+"containers: ["+strings.Join(containers, ", ")+"]\n", "apply", "--filename", "-"))
	t.Cleanup(func() {
		_, _ = kube.kubectl("", "delete", "pod", "--namespace", "hub", "many", "--now", "--wait=false")
	})
	killed := 0
	retry(t, "the end of all containers", func() error {
		p, err := decode[pod](kube.kubectl("", "get", "pod", "--namespace", "hub", "many", "--output", "json"))
		if err != nil {
			return err
		}
		killed = 0
		for _, c := range p.Status.ContainerStatuses {
			switch ended := c.State.Terminated; {
			case ended == nil:
				return errNotYet
			case ended.ExitCode == 137:
				killed++
			}
		}
		if len(p.Status.ContainerStatuses) != many {
			return errNotYet
		}
		return nil
	})
	// Two containers can count as one.
	if killed < victims || killed > 2*victims {
		t.Errorf("a rule with a limit of %d victims killed in %d of %d containers", victims, killed, many)
	}
	dies(t, storm) // by another rule
	if status, page := ask(t, "/readyz", token); status != http.StatusServiceUnavailable || !strings.Contains(page, "bannedCommandStrings[1]") {
		t.Errorf("/readyz with the token: %d %s", status, page)
	}
	if status, page := ask(t, "/readyz", ""); status != http.StatusServiceUnavailable || strings.Contains(page, "bannedCommandStrings") {
		t.Errorf("/readyz without the token: %d %s", status, page)
	}
	if status, page := ask(t, "/metrics", ""); status != http.StatusUnauthorized || strings.Contains(page, "cryptnono_") {
		t.Errorf("/metrics without the token: %d %s", status, page)
	}
	if _, page := ask(t, "/metrics", token); find(page, `cryptnono_kill_limit_reached{scope="rule"}`) != "1" {
		t.Error("the metrics do not show that one rule is stopped")
	}
}

// ask asks the agent for a page, with a token unless it is "".
func ask(t *testing.T, path, token string) (status int, page string) {
	t.Helper()
	address := net.JoinHostPort(agentPod(t).Status.PodIP, "12121")
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return onNode(func() (net.Conn, error) { return net.DialTimeout("tcp", address, 10*time.Second) })
		},
	}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// loops returns the pod that starts a program in a loop.
func loops(ns string) (pod, error) {
	return decode[pod](kube.kubectl("", "get", "pod", "--namespace", ns, "loops", "--output", "json"))
}
