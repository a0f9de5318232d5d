package kubernetes

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const ruleValues = `
action: kill
detectors:
  execwhacker:
    configs:
      mine:
        bannedCommandStrings: [word-of-a-value]
    secrets: [secret-list]
`

// testRules tests an installation whose rules change while it runs.
func (c *cluster) testRules(t *testing.T) {
	c.apply(t, "apiVersion: v1\nkind: Secret\nmetadata: {namespace: cryptnono, name: secret-list}\nstringData: {rules.yaml: 'bannedCommandStrings: [word-of-a-secret]'}\n")
	values := filepath.Join(c.dir, "values.yaml")
	write(t, values, ruleValues)
	install := func(more ...string) {
		t.Helper()
		c.run(t, c.helm(append([]string{"upgrade", "--install", "cryptnono", "../../charts/cryptnono", "-n", "cryptnono", "-f", values, "--wait", "--timeout", "90s"}, more...)...)...)
	}
	install()
	agent := c.agentProcess(t)
	for _, word := range []string{"word-of-a-value", "word-of-a-secret"} {
		if out, ok := c.inPod("default", "stranger", word); ok {
			t.Errorf("%s lives: %s", word, out)
		}
	}
	configMap := func() string {
		t.Helper()
		for name := range strings.FieldsSeq(c.run(t, c.kubectl("get", "configmaps", "-n", "cryptnono", "-o", "name")...)) {
			if strings.Contains(name, "mine") {
				return name
			}
		}
		t.Fatal("no ConfigMap of the rules")
		return ""
	}()
	key := strings.Trim(c.run(t, c.kubectl("get", "-n", "cryptnono", configMap, "-o", `go-template={{range $k, $v := .data}}{{$k}}{{end}}`)...), "\n")
	edit := func(rules string) {
		t.Helper()
		c.run(t, c.kubectl("patch", "-n", "cryptnono", configMap, "--type=merge", "-p",
			string(encode(t, map[string]any{"data": map[string]string{key: rules}})))...)
	}

	t.Run("an edit of a ConfigMap adds a ban", func(t *testing.T) {
		edit(`bannedCommandStrings: [word-of-a-value, word-of-an-edit]`)
		eventually(t, "its effect", func() bool { _, ok := c.inPod("default", "stranger", "word-of-an-edit"); return !ok })
		if now := c.agentProcess(t); now != agent {
			t.Errorf("process %d became %d", agent, now)
		}
	})
	t.Run("the metrics reach a Prometheus with the shipped alerts", c.testPrometheus)
	t.Run("a broken edit changes nothing, and shows", func(t *testing.T) {
		edit(`bannedCommandString: [word-of-an-edit]`)
		eventually(t, "the metric of a refused reload", func() bool {
			return strings.Contains(c.metrics(t), "\ncryptnono_config_reload_success 0\n")
		})
		refused := false
		for _, l := range c.agentLog(t) {
			refused = refused || strings.Contains(l.Err, "bannedCommandString")
		}
		if !refused {
			t.Error("no line of the log says why")
		}
		if out, ok := c.inPod("default", "stranger", "word-of-an-edit"); ok {
			t.Errorf("an old rule is gone: %s", out)
		}
		edit(`bannedCommandStrings: [word-of-a-value]`)
		eventually(t, "the metric of a reload", func() bool {
			return strings.Contains(c.metrics(t), "\ncryptnono_config_reload_success 1\n")
		})
		if out, ok := c.inPod("default", "stranger", "word-of-an-edit"); !ok {
			t.Errorf("a rule that is gone works: %s", out)
		}
	})
	t.Run("an upgrade and its rollback keep protecting", func(t *testing.T) {
		stop, result := make(chan struct{}), make(chan [2]int)
		go func() {
			ran, lived := selfTestsDie(stop)
			result <- [2]int{ran, lived}
		}()
		install("--set", "podAnnotations.a=b")
		c.run(t, c.helm("rollback", "cryptnono", "-n", "cryptnono", "--wait", "--timeout", "90s")...)
		close(stop)
		if r := <-result; r[0] < 50 || r[1] > 0 {
			t.Errorf("%d of %d self-tests lived", r[1], r[0])
		}
		if now := c.agentProcess(t); now == agent {
			t.Error("there was no rollout")
		}
	})
	t.Run("a RandomX miner dies in a pod", c.testMiner)
	if t.Failed() {
		t.Logf("the agent's log:\n%s", strings.Join(strings.SplitAfter(c.run(t, c.kubectl("logs", "-n", "cryptnono", "ds/cryptnono", "--tail=30")...), "\n"), ""))
	}
	_ = os.Remove(values)
}

// testMiner runs a miner that has no telling name or option.
func (c *cluster) testMiner(t *testing.T) {
	c.apply(t, `
apiVersion: v1
kind: Pod
metadata: {namespace: default, name: quiet}
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  containers: [{name: work, image: "`+minerImage+`", imagePullPolicy: Never, args: ["1", light, jit]}]
`)
	eventually(t, "its end", func() bool {
		out := c.run(t, c.kubectl("get", "pod", "-n", "default", "quiet", "-o", "jsonpath={.status.containerStatuses[0].state.terminated.exitCode}")...)
		return out == "137"
	})
	for _, l := range c.agentLog(t) {
		if l.Action == "killed" && l.Detector == "monero" && l.Pod == "quiet" && l.Image == minerImage && l.Namespace == "default" {
			return
		}
	}
	t.Error("no line of the log says so")
}
