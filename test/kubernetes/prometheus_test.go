package kubernetes

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"testing"
)

// agentAddress returns host and port of the agent's metrics.
func (c *cluster) agentAddress(t *testing.T) string {
	t.Helper()
	return c.run(t, c.kubectl("get", "pods", "-n", "cryptnono", "-l", "app.kubernetes.io/name=cryptnono",
		"-o", "jsonpath={.items[0].status.podIP}")...) + ":12121"
}

// metrics returns the agent's page of metrics.
func (c *cluster) metrics(t *testing.T) string {
	t.Helper()
	return c.get(t, "http://"+c.agentAddress(t)+"/metrics")
}

// get returns what is at an address in the node's network.
func (n *node) get(t *testing.T, url string) string {
	t.Helper()
	text, err := n.tryGet(url)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (n *node) tryGet(url string) (string, error) {
	r, err := n.client().Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, r.Status, text)
	}
	return string(text), err
}

// testPrometheus runs a real Prometheus with the shipped rules, and waits for the
// alert of kills.
func (c *cluster) testPrometheus(t *testing.T) {
	alerts, err := filepath.Abs("../../charts/cryptnono/alerts/cryptnono.yaml")
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(c.dir, "prometheus.yaml")
	write(t, config, fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - job_name: cryptnono
    static_configs: [{targets: [%q], labels: {node: %s}}]
`, alerts, c.agentAddress(t), nodeName))
	c.start(t, "../../.cache/bin/prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(c.dir, "prometheus"),
		"--web.listen-address=127.0.0.1:9090")
	type answer struct {
		Data struct {
			Alerts []struct {
				State  string
				Labels map[string]string
			}
			ActiveTargets []struct{ Health, ScrapeURL, LastError string }
			Groups        []struct {
				Rules []struct{ Health, Name, LastError string }
			}
		}
	}
	ask := func(what string) (a answer) {
		text, err := c.tryGet("http://127.0.0.1:9090/api/v1/" + what)
		if err == nil {
			err = json.Unmarshal([]byte(text), &a)
		}
		if err != nil {
			return answer{}
		}
		return a
	}
	eventually(t, "a scrape", func() bool {
		targets := ask("targets").Data.ActiveTargets
		return len(targets) == 1 && targets[0].Health == "up"
	})
	// Kills between two scrapes, since what counts is the increase.
	eventually(t, "the alert of kills", func() bool {
		if out, ok := c.inPod("default", "stranger", banned); ok {
			t.Fatalf("the self-test lives: %s", out)
		}
		for _, a := range ask("alerts").Data.Alerts {
			if a.Labels["alertname"] == "CryptnonoKills" && a.Labels["detector"] == "execwhacker" && a.Labels["node"] == nodeName && a.State == "firing" {
				return true
			}
		}
		return false
	})
	for _, group := range ask("rules").Data.Groups {
		for _, rule := range group.Rules {
			if rule.Health != "ok" {
				t.Errorf("rule %s is %s: %s", rule.Name, rule.Health, rule.LastError)
			}
		}
	}
}
