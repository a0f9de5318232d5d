package kubernetes

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
)

const (
	release   = "cryptnono"
	namespace = "cryptnono"
)

// retry waits for something that happens in the end, and fails the test if it does not.
func retry(t *testing.T, what string, try func() error) {
	t.Helper()
	if err := kube.eventually(what, try); err != nil {
		t.Fatal(err)
	}
}

// must returns what a command wrote, which must succeed.
func must(t *testing.T) func(string, error) string {
	return func(out string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

// values writes a values file: the image, and more of the chart's values.
func values(t *testing.T, more string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "values.yaml")
	text := fmt.Sprintf("image: {tag: %q, pullPolicy: Never}\n%s\n", version, more)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// install installs or upgrades the release, and waits until its agents are ready. Together, the tests
// hit more pods than a right rule does, so rules have no limit unless the values have one.
func install(t *testing.T, files ...string) string {
	t.Helper()
	return upgrade(t, files, "--wait", "--timeout", "2m")
}

func upgrade(t *testing.T, files []string, flags ...string) string {
	t.Helper()
	args := []string{"upgrade", "--install", release, abs("../../charts/cryptnono"), "--namespace", namespace, "--create-namespace"}
	for _, f := range append([]string{values(t, "killLimit: {victims: 0}")}, files...) {
		args = append(args, "--values", f)
	}
	return must(t)(kube.helm("", append(args, flags...)...))
}

// A pod as kubectl shows it.
type pod struct {
	Metadata struct {
		Name, UID string
	}
	Status struct {
		Phase, PodIP      string
		ContainerStatuses []struct {
			Ready        bool
			RestartCount int
			ContainerID  string
			State        struct{ Terminated *struct{ ExitCode int } }
		}
	}
}

// agentPods returns the pods of the release that are not about to end.
func agentPods(t *testing.T) []pod {
	t.Helper()
	list, err := decode[struct{ Items []pod }](kube.kubectl("", "get", "pods", "--namespace", namespace,
		"--selector", "app.kubernetes.io/name=cryptnono", "--field-selector", "status.phase=Running", "--output", "json"))
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func agentPod(t *testing.T) pod {
	t.Helper()
	var pods []pod
	retry(t, "one agent", func() error {
		if pods = agentPods(t); len(pods) != 1 {
			return fmt.Errorf("there are %d", len(pods))
		}
		return nil
	})
	return pods[0]
}

// A line of the agent's log.
type line struct {
	Msg, Action, Detector, Matched, Rule, Cmdline string
	Allowed                                       string `json:"allowedby"`
	Level, Err, Container, Image, Pod, Namespace  string
	Node                                          string
	ContainerID                                   string `json:"container_id"`
	Labels, Annotations                           map[string]string
	raw                                           string
}

// logLine waits for a line of the agent's log.
func logLine(t *testing.T, what string, want func(line) bool) line {
	t.Helper()
	var found line
	retry(t, what, func() error {
		text, err := kube.kubectl("", "logs", "--namespace", namespace, agentPod(t).Metadata.Name)
		if err != nil {
			return err
		}
		for l := range strings.Lines(text) {
			got := line{raw: l}
			if json.Unmarshal([]byte(l), &got) == nil && want(got) {
				found = got
				return nil
			}
		}
		return errNotYet
	})
	return found
}

// metrics returns the page of an agent's metrics.
func metrics(t *testing.T, p pod) string {
	t.Helper()
	return must(t)(page(p, "metrics"))
}

// page returns a page of an agent; one whose status is no success is an error.
func page(p pod, name string) (string, error) {
	return kube.kubectl("", "get", "--raw", fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:12121/proxy/%s", namespace, p.Metadata.Name, name))
}

// spoken is how a script says a word that is banned, without having it in its own
// command line: VAR=cryptnono.BANNED, and then $VAR.string1.
func spoken(word string) (assign, use string) {
	head, tail, _ := strings.Cut(word, ".")
	return "w=" + head, "$w." + tail
}

const selftest = "cryptnono.BANNED.string1"

// runPod runs a script in a pod to its end, and returns the pod and its output.
func runPod(t *testing.T, ns, name, script string) (pod, string) {
	t.Helper()
	must(t)(kube.kubectl(podManifest(ns, name, strangerImage, "/bin/sh", "-c", script), "apply", "--filename", "-"))
	t.Cleanup(func() {
		_, _ = kube.kubectl("", "delete", "pod", "--namespace", ns, name, "--now", "--wait=false")
	})
	var p pod
	retry(t, "the end of the pod "+name, func() (err error) {
		p, err = decode[pod](kube.kubectl("", "get", "pod", "--namespace", ns, name, "--output", "json"))
		if err == nil && (len(p.Status.ContainerStatuses) == 0 || p.Status.ContainerStatuses[0].State.Terminated == nil) {
			err = errNotYet
		}
		return err
	})
	return p, must(t)(kube.kubectl("", "logs", "--namespace", ns, name))
}

func podManifest(ns, name, image string, command ...string) string {
	args, err := json.Marshal(command)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: %s, labels: {app: stranger, hub: "yes"}, annotations: {hub.jupyter.org/username: ada@example.com}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers: [{name: notebook, image: %q, imagePullPolicy: Never, command: %s, resources: {requests: {cpu: 10m}}}]
`, name, ns, image, args)
}

// says returns a script that starts a program with a word, as the first of the pod.
func says(word string) string {
	assign, use := spoken(word)
	return assign + "; exec /bin/echo " + use
}

func exitCode(p pod) int { return p.Status.ContainerStatuses[0].State.Terminated.ExitCode }

// dies checks that a program with a word is killed in a pod of ordinary users.
func dies(t *testing.T, word string) pod {
	t.Helper()
	p, out := runPod(t, "hub", "dies-"+fmt.Sprint(time.Now().UnixNano()), says(word))
	if exitCode(p) != 137 || out != "" {
		t.Fatalf("a program with a banned word ended with %d and wrote %q", exitCode(p), out)
	}
	return p
}

// lives checks that it is not.
func lives(t *testing.T, ns, word string) pod {
	t.Helper()
	p, out := runPod(t, ns, "lives-"+fmt.Sprint(time.Now().UnixNano()), says(word))
	if exitCode(p) != 0 || out != word+"\n" {
		t.Fatalf("a program with the word %s ended with %d and wrote %q", word, exitCode(p), out)
	}
	return p
}

// bpfPrograms returns the names of the programs in this kernel that are the agent's.
func bpfPrograms(t *testing.T) []string {
	t.Helper()
	var ours []string
	for id := ebpf.ProgramID(0); ; {
		next, err := ebpf.ProgramGetNextID(id)
		if errors.Is(err, os.ErrNotExist) {
			return ours
		} else if err != nil {
			t.Fatal(err)
		}
		id = next
		p, err := ebpf.NewProgramFromID(id)
		if err != nil {
			continue // gone
		}
		if info, err := p.Info(); err == nil {
			switch info.Name {
			case "judge_exec", "apply_rules", "sample_mode", "tell_cgroup", "list_processes", "take_kill", "judge_egress":
				ours = append(ours, info.Name)
			}
		}
		p.Close()
	}
}
