// Package kubernetes tests the chart on a real Kubernetes, and the image in
// containers without one.
package kubernetes

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

const banned = "cryptnono.BANNED.string1"

// A line of the agent's log.
type line struct {
	Msg, Action, Detector, Cmdline, Matched     string
	Container, Image, Pod, Namespace, Node, Err string
}

func TestTheChartOnARealKubernetes(t *testing.T) {
	testutil.Privileged(t)
	c := newCluster(t)
	c.apply(t, strangers("default", "stranger")+strangers("kube-system", "system"))
	for _, p := range []string{"default/stranger", "kube-system/system"} {
		namespace, name, _ := strings.Cut(p, "/")
		c.run(t, c.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/"+name, "--timeout=60s")...)
	}
	if out, ok := c.inPod("default", "stranger", banned); !ok {
		t.Fatalf("another agent is at work: %s", out)
	}

	t.Run("with its default values", func(t *testing.T) {
		c.run(t, c.helm("install", "cryptnono", "../../charts/cryptnono", "-n", "cryptnono", "--create-namespace", "--wait", "--timeout", "90s")...)
		t.Run("the self-test dies in a pod, and the log names it", c.testDies)
		t.Run("it lives in kube-system", c.testLives)
		t.Run("helm test passes", func(t *testing.T) {
			c.run(t, c.helm("test", "cryptnono", "-n", "cryptnono", "--logs", "--timeout", "60s")...)
		})
		t.Run("uninstalled, it leaves nothing behind", c.testUninstall)
	})
	t.Run("with the values of an older release", func(t *testing.T) {
		c.apply(t, "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: binder-node-critical}\nvalue: 1000000\n")
		c.run(t, c.helm("install", "cryptnono", "../../charts/cryptnono", "-n", "cryptnono", "-f", "../chart/testdata/old-binder-site.yaml", "--wait", "--timeout", "90s")...)
		for _, word := range []string{"nanominer", "pool-2.example"} {
			if out, ok := c.inPod("default", "stranger", word); ok {
				t.Errorf("%s lives: %s", word, out)
			}
		}
		c.run(t, c.helm("uninstall", "cryptnono", "-n", "cryptnono", "--wait")...)
	})
	t.Run("with rules that change", c.testRules)
}

// strangers is a pod in which commands are executed.
func strangers(namespace, name string) string {
	return fmt.Sprintf(`
---
apiVersion: v1
kind: Pod
metadata: {namespace: %s, name: %s, labels: {app: stranger}}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  containers: [{name: shell, image: %q, imagePullPolicy: Never}]
`, namespace, name, strangerImage)
}

// inPod runs the stranger's program with an argument in a pod, and says whether it
// came to its end.
func (c *cluster) inPod(namespace, pod, argument string) (string, bool) {
	return c.try(c.kubectl("exec", "-n", namespace, pod, "--", "/stranger", argument)...)
}

// agentLog returns the lines of the agent's log.
func (c *cluster) agentLog(t *testing.T) []line {
	t.Helper()
	var lines []line
	for text := range strings.Lines(c.run(t, c.kubectl("logs", "-n", "cryptnono", "ds/cryptnono", "--tail=-1")...)) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		lines = append(lines, l)
	}
	return lines
}

func (c *cluster) testDies(t *testing.T) {
	if out, ok := c.inPod("default", "stranger", banned); ok || strings.Contains(out, "ran") || !strings.Contains(out, "137") {
		t.Errorf("it lives: %s", out)
	}
	var last line
	eventually(t, "its line in the log", func() bool {
		for _, l := range c.agentLog(t) {
			if l.Action == "killed" && l.Pod == "stranger" {
				last = l
				return true
			}
		}
		return false
	})
	want := line{
		Msg: "killed a process", Action: "killed", Detector: "execwhacker", Cmdline: "/stranger " + banned, Matched: banned,
		Container: "shell", Image: strangerImage, Pod: "stranger", Namespace: "default", Node: nodeName,
	}
	if last != want {
		t.Errorf("got  %+v\nwant %+v", last, want)
	}
}

func (c *cluster) testLives(t *testing.T) {
	if out, ok := c.inPod("kube-system", "system", banned); !ok || !strings.Contains(out, "ran 1") {
		t.Errorf("it dies: %s", out)
	}
}

// testUninstall looks for what an agent could leave in the kernel.
func (c *cluster) testUninstall(t *testing.T) {
	agent := c.agentProcess(t)
	held := kernelObjects(t, agent)
	if held.total() < 4 {
		t.Fatalf("the agent has hardly anything in the kernel: %+v", held)
	}
	c.run(t, c.helm("uninstall", "cryptnono", "-n", "cryptnono", "--wait", "--timeout", "60s")...)
	eventually(t, "the end of the agent", func() bool { return syscall.Kill(agent, 0) != nil })
	eventually(t, "a kernel without its programs", func() bool { return held.left() == 0 })
	if out, ok := c.inPod("default", "stranger", banned); !ok {
		t.Errorf("the self-test dies: %s", out)
	}
	out := c.run(t, c.kubectl("get", "all,configmaps,secrets,serviceaccounts", "-n", "cryptnono", "-o", "name")...)
	for object := range strings.FieldsSeq(out) {
		// Each namespace has these two; helm test leaves its pod for its log to be read.
		if object != "configmap/kube-root-ca.crt" && object != "serviceaccount/default" && object != "pod/cryptnono-selftest" {
			t.Errorf("left: %s", object)
		}
	}
	for _, kind := range []string{"clusterroles", "clusterrolebindings"} {
		if out := c.run(t, c.kubectl("get", kind, "-o", "name")...); strings.Contains(out, "cryptnono") {
			t.Errorf("left: %s", out)
		}
	}
	if pins := c.run(t, "find", "/sys/fs/bpf", "-name", "*cryptnono*"); pins != "" {
		t.Errorf("pins left: %s", pins)
	}
}

// agentProcess returns the pid of the agent.
func (c *cluster) agentProcess(t *testing.T) int {
	t.Helper()
	id := c.run(t, c.kubectl("get", "pods", "-n", "cryptnono", "-l", "app.kubernetes.io/name=cryptnono",
		"-o", "jsonpath={.items[0].status.containerStatuses[0].containerID}")...)
	out := c.run(t, "ctr", "--namespace=k8s.io", "tasks", "list")
	for l := range strings.Lines(out) {
		fields := strings.Fields(l)
		if len(fields) > 1 && fields[0] == strings.TrimPrefix(id, "containerd://") {
			pid, err := strconv.Atoi(fields[1])
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	t.Fatalf("no process of %s in %s", id, out)
	return 0
}

// selfTestsDie runs the self-test on the node again and again until it is told to
// end, and then returns how many there were and how many lived.
func selfTestsDie(stop <-chan struct{}) (ran, lived int) {
	for {
		select {
		case <-stop:
			return ran, lived
		default:
		}
		if err := runEcho(banned); err == nil {
			lived++
		}
		ran++
		time.Sleep(20 * time.Millisecond)
	}
}

func runEcho(argument string) error {
	p, err := os.StartProcess("/bin/echo", []string{"/bin/echo", argument}, &os.ProcAttr{})
	if err != nil {
		return err
	}
	state, err := p.Wait()
	if err == nil && !state.Success() {
		err = fmt.Errorf("ended with %s", state)
	}
	return err
}
