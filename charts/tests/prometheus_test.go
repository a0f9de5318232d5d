package chart

import (
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// promtool runs Prometheus' own tool, which scripts/install-deps installs.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	tool := "promtool"
	if own, err := filepath.Abs("../../.cache/bin/promtool"); err == nil {
		if _, err := exec.LookPath(own); err == nil {
			tool = own
		}
	}
	if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestPrometheusAcceptsTheAlerts(t *testing.T) {
	promtool(t, "check", "rules", chartDir+"/alerts/cryptnono.yaml")
}

// testFiles are the tests of alerts, by how often they are evaluated.
func testFiles() []string {
	return []string{"testdata/alerts.yaml", "testdata/crashloop.yaml", "testdata/observes.yaml"}
}

func TestAlertsFireWhenTheyShould(t *testing.T) {
	promtool(t, append([]string{"test", "rules"}, testFiles()...)...)
}

func TestEachAlertHasATestOfItsFiring(t *testing.T) {
	tests := ""
	for _, file := range testFiles() {
		tests += read(t, file)
	}
	for _, a := range alerts(t) {
		if !regexp.MustCompile(`alertname: ` + a.Alert + `\n +exp_alerts:\n +- exp_labels:`).MatchString(tests) {
			t.Errorf("%s never fires", a.Alert)
		}
	}
}

func TestEachAlertSaysWhatToDo(t *testing.T) {
	const file = "https://github.com/cryptnono/cryptnono/blob/main/docs/troubleshooting.md#"
	page := read(t, "../../docs/troubleshooting.md")
	for _, a := range alerts(t) {
		for _, key := range []string{"summary", "description", "runbook_url"} {
			if a.Annotations[key] == "" {
				t.Errorf("%s has no %s", a.Alert, key)
			}
		}
		if a.Annotations["runbook_url"] != file+strings.ToLower(a.Alert) {
			t.Errorf("%s: runbook %s", a.Alert, a.Annotations["runbook_url"])
		}
		if !strings.Contains(page, "\n### "+a.Alert+"\n") {
			t.Errorf("docs/troubleshooting.md has no section %s", a.Alert)
		}
	}
}

func TestThePrometheusRuleHasTheAlertsOfTheFile(t *testing.T) {
	names := func(text string) []string {
		var got []string
		o := objects(t, render(t, text))["PrometheusRule cryptnono"]
		for _, r := range at(o, "spec", "groups", 0, "rules").([]any) {
			name, _ := at(r, "alert").(string)
			got = append(got, name)
		}
		return got
	}
	var all []string
	for _, a := range alerts(t) {
		all = append(all, a.Alert)
	}
	if got := names("metrics: {enabled: true, prometheusRule: {enabled: true}}"); !reflect.DeepEqual(got, all) {
		t.Errorf("got %q, want %q", got, all)
	}
	some := slices.DeleteFunc(slices.Clone(all), func(name string) bool { return name == "CryptnonoAbsent" })
	some = append(some, "Mine")
	if got := names(`
metrics:
  enabled: true
  prometheusRule: {enabled: true, disabled: [CryptnonoAbsent], additionalRules: [{alert: Mine, expr: vector(1)}]}
`); !reflect.DeepEqual(got, some) {
		t.Errorf("got %q, want %q", got, some)
	}
}

func TestTheAlertsAreAboutThisRelease(t *testing.T) {
	o := objects(t, render(t, "fullnameOverride: miner-watch\nmetrics: {enabled: true, prometheusRule: {enabled: true}}"))["PrometheusRule miner-watch"]
	const want = `up{job=~".*miner-watch.*"} == 0 or up{pod=~".*miner-watch.*"} == 0`
	if got := text(t, o, "spec", "groups", 0, "rules", 0, "expr"); !strings.HasPrefix(got, want) || strings.Contains(got, "cryptnono") {
		t.Errorf("CryptnonoDown: %s", got)
	}
}

func TestMonitorsFindThePodsAndTheirPort(t *testing.T) {
	files := render(t, `
metrics:
  enabled: true
  podMonitor: {enabled: true, interval: 30s, labels: {release: prometheus}, metricRelabelings: [{action: drop}]}
  serviceMonitor: {enabled: true, scrapeTimeout: 5s, relabelings: [{action: keep}]}
`)
	all := objects(t, files)
	labels := at(daemonSet(t, files), "spec", "template", "metadata", "labels").(values)
	if at(all["PodMonitor cryptnono"], "metadata", "labels", "release") != "prometheus" {
		t.Errorf("no label of its own: %v", all["PodMonitor cryptnono"])
	}
	for name, selector := range map[string]any{
		"PodMonitor":     at(all["PodMonitor cryptnono"], "spec", "selector", "matchLabels"),
		"Service":        at(all["Service cryptnono"], "spec", "selector"),
		"ServiceMonitor": at(all["ServiceMonitor cryptnono"], "spec", "selector", "matchLabels"),
	} {
		for key, want := range selector.(values) {
			if got := labels[key]; name != "ServiceMonitor" && got != want {
				t.Errorf("%s wants %s to be %v, and pods have %v", name, key, want, got)
			}
			if at(all["Service cryptnono"], "metadata", "labels", key) != want {
				t.Errorf("the Service has no %s: %v", key, want)
			}
			// The pod of helm test must not be scraped.
			if key == "app.kubernetes.io/name" && at(all["Pod cryptnono-selftest"], "metadata", "labels", key) == want {
				t.Errorf("%s finds the self-test", name)
			}
		}
	}
	port := at(container(t, files), "ports", 0)
	if at(port, "name") != "http" || at(port, "containerPort") != 12121 {
		t.Errorf("port %v", port)
	}
	p := at(all["PodMonitor cryptnono"], "spec", "podMetricsEndpoints", 0)
	s := at(all["ServiceMonitor cryptnono"], "spec", "endpoints", 0)
	for _, e := range []any{p, s} {
		if at(e, "port") != "http" || at(e, "path") != "/metrics" || at(e, "relabelings", 0, "targetLabel") != "node" {
			t.Errorf("endpoint %v", e)
		}
	}
	if at(p, "interval") != "30s" || at(p, "metricRelabelings", 0, "action") != "drop" || at(s, "scrapeTimeout") != "5s" || at(s, "relabelings", 1, "action") != "keep" {
		t.Errorf("endpoints %v and %v", p, s)
	}
}

func TestTheDashboardIsForGrafanasSidecar(t *testing.T) {
	o := objects(t, render(t, "metrics: {enabled: true, grafanaDashboard: {enabled: true, namespace: grafana, annotations: {folder: Security}}}"))["ConfigMap cryptnono-dashboard"]
	if at(o, "metadata", "labels", "grafana_dashboard") != "1" || at(o, "metadata", "namespace") != "grafana" || at(o, "metadata", "annotations", "folder") != "Security" {
		t.Errorf("metadata %v", o["metadata"])
	}
	if got := strings.TrimSpace(text(t, o, "data", "cryptnono.json")); got != strings.TrimSpace(read(t, chartDir+"/dashboards/cryptnono.json")) {
		t.Error("it is not the file")
	}
}

func TestMonitoringNeedsMetrics(t *testing.T) {
	for _, name := range []string{"podMonitor", "serviceMonitor", "prometheusRule", "grafanaDashboard"} {
		_, err := renderTo(t, target{}, parse(t, "metrics: {"+name+": {enabled: true}}"))
		if err == nil || !strings.Contains(err.Error(), "metrics."+name+".enabled needs metrics.enabled") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
