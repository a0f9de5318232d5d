package kubernetes

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

var chartsAlerts = abs("../../charts/cryptnono/alerts/cryptnono.yaml")

// prometheus starts Debian's Prometheus, which scrapes once a second and has the alerts in a file.
func prometheus(t *testing.T, alerts, scrapeConfigs string) {
	t.Helper()
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\nscrape_configs:\n%s", alerts, scrapeConfigs)
	if err := os.WriteFile(kube.path("prometheus.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	kube.start("prometheus", abs("../../.cache/bin/prometheus"), "--config.file="+kube.path("prometheus.yaml"), "--storage.tsdb.path="+kube.path("tsdb"), "--web.listen-address=127.0.0.1:9090")
	p := kube.parts[len(kube.parts)-1]
	t.Cleanup(p.end)
}

// query returns what Prometheus answers.
func query(expression string) (string, error) {
	return output(kube.inside(abs("../../.cache/bin/promtool"), "query", "instant", "http://127.0.0.1:9090", expression))
}

// see waits until Prometheus answers with this text.
func see(t *testing.T, expression, want string) {
	t.Helper()
	retry(t, expression, func() error {
		out, err := query(expression)
		if err == nil && !strings.Contains(out, want) {
			err = fmt.Errorf("got %q", out)
		}
		return err
	})
}

func anAlertFires(t *testing.T) {
	prometheus(t, chartsAlerts, fmt.Sprintf("  - {job_name: cryptnono, static_configs: [{targets: [\"%s:12121\"], labels: {node: %s}}]}\n", agentPod(t).Status.PodIP, nodeName))
	see(t, `sum by (node) (cryptnono_execwhacker_processes_killed_total)`, `node="`+nodeName+`"`)
	see(t, `up{job="cryptnono"}`, "=> 1")
	see(t, `ALERTS{alertname="CryptnonoKillLimitReached"} or vector(42)`, "=> 42")

	// The kill limit is in the settings, which take effect without a rollout too.
	before := agentPod(t)
	install(t, values(t, listed+"\nkillLimit: {perMinute: 1}"))
	logLine(t, "a reload", func(l line) bool { return l.Msg == "reloaded" && strings.Contains(l.raw, `"detectors"`) })
	retry(t, "the kill limit", func() error {
		p, _ := runPod(t, "hub", "limited-"+fmt.Sprint(time.Now().UnixNano()), says(selftest))
		if exitCode(p) != 0 {
			return errNotYet
		}
		return nil
	})
	see(t, `ALERTS{alertname="CryptnonoKillLimitReached", alertstate="firing"}`, `scope="node"`)
	install(t, values(t, listed))
	banned(t, selftest)
	if after := agentPod(t); after.Metadata.UID != before.Metadata.UID {
		t.Error("the agent was started anew")
	}
}
