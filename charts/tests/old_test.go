package chart

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/rules"
)

// Each key of the earlier chart either keeps its meaning or is in the notes.
func TestEveryOldValueIsKeptOrNoted(t *testing.T) {
	files := render(t, read(t, "testdata/old-all-keys.yaml"))
	all := objects(t, files)
	d := daemonSet(t, files)
	template := at(d, "spec", "template")
	for _, c := range []struct {
		key  string
		want any
		at   []any
	}{
		{"fullnameOverride", "miner-watch", []any{"metadata", "name"}},
		{"nameOverride", "watch", []any{"spec", "selector", "matchLabels", "app.kubernetes.io/name"}},
		{"image.repository, tag", "r.example/cryptnono:v9", []any{"spec", "template", "spec", "containers", 0, "image"}},
		{"image.pullPolicy", "IfNotPresent", []any{"spec", "template", "spec", "containers", 0, "imagePullPolicy"}},
		{"imagePullSecrets", "registry", []any{"spec", "template", "spec", "imagePullSecrets", 0, "name"}},
		{"podAnnotations", "b", []any{"spec", "template", "metadata", "annotations", "example.org/a"}},
		{"podSecurityContext", 7, []any{"spec", "template", "spec", "securityContext", "fsGroup"}},
		{"nodeSelector", "user", []any{"spec", "template", "spec", "nodeSelector", "hub.jupyter.org/node-purpose"}},
		{"tolerations", "NoSchedule", []any{"spec", "template", "spec", "tolerations", 0, "effect"}},
		{"affinity", "kubernetes.io/arch", []any{"spec", "template", "spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms", 0, "matchExpressions", 0, "key"}},
		{"priorityClassName", "system-node-critical", []any{"spec", "template", "spec", "priorityClassName"}},
		{"env", "staging", []any{"spec", "template", "spec", "containers", 0, "env", 1, "value"}},
		{"env, a number", "3", []any{"spec", "template", "spec", "containers", 0, "env", 2, "value"}},
		{"env, a boolean", "true", []any{"spec", "template", "spec", "containers", 0, "env", 3, "value"}},
		{"metrics.port", 9121, []any{"spec", "template", "spec", "containers", 0, "ports", 0, "containerPort"}},
		{"prometheusScrapeAnnotation", "true", []any{"spec", "template", "metadata", "annotations", "prometheus.io/scrape"}},
		{"prometheusScrapeAnnotation", "9121", []any{"spec", "template", "metadata", "annotations", "prometheus.io/port"}},
		{"prometheusScrapeAnnotation", "/metrics", []any{"spec", "template", "metadata", "annotations", "prometheus.io/path"}},
	} {
		if got := at(d, c.at...); got != c.want {
			t.Errorf("%s: got %v, want %v", c.key, got, c.want)
		}
	}
	for key := range at(d, "spec", "selector", "matchLabels").(values) {
		if at(template, "metadata", "labels", key) != at(d, "spec", "selector", "matchLabels", key) {
			t.Errorf("the pods lack the label %s of the selector", key)
		}
	}
	if all["Pod miner-watch-selftest"] == nil || all["ServiceAccount miner-watch"] == nil {
		t.Errorf("fullnameOverride is not the name of all")
	}

	text, _ := at(all["ConfigMap miner-watch"], "data", "settings.json").(string)
	for _, want := range []string{`"/etc/cryptnono/rules/addresses/banned-ips"`, `"BINDER_CLIENT_IP"`, `"BINDER_REF_URL"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	volume := ""
	for _, v := range at(template, "spec", "volumes").([]any) {
		if v := v.(values); v["name"] == "addresses-banned-ips" {
			volume, _ = at(v, "configMap", "items", 0, "path").(string)
		}
	}
	if volume != "ips.txt.addresses" {
		t.Errorf("the older list of addresses is mounted as %q", volume)
	}
	noted := files[notes]
	for _, key := range []string{
		"fetchKernelHeaders", "image.name", "containerSecurityContext.privileged",
		"detectors.execwhacker.threadpoolSize", "detectors.execwhacker.resources", "detectors.execwhacker.metrics.enabled",
		"detectors.execwhacker.env.CRYPTNONO_METRICS_PREFIX", "detectors.tcpflowkiller.metrics", "detectors.tcpflowkiller.resources",
		"detectors.tcpflowkiller.config.FlowKiller.log_connects", "detectors.tcpflowkiller.config.FlowKiller.log_container_info",
		"detectors.monero.resources", "detectors.tcpflowkiller.env",
		"detectors.tcpflowkiller.config.FlowKiller.banned_ipv4_file_globs", "detectors.tcpflowkiller.config.FlowKiller.lookback_duration_seconds",
		"metrics.collector.image", "metrics.collector.resources", "metrics.collector.port",
		"detectors.execwhacker.debug",
	} {
		if !strings.Contains(noted, "\n  - "+key+" has no effect: ") && !strings.Contains(noted, "\n"+key+" ") {
			t.Errorf("no note about %s:\n%s", key, noted)
		}
	}
}

func TestTheValuesOfABinderSiteKeepWorking(t *testing.T) {
	files := render(t, read(t, "testdata/old-binder-site.yaml"))
	c, set := agentReads(t, files)
	if c.LogLevel != 0 || !slices.Equal(c.Enabled(), []string{"execwhacker", "hashwork"}) || c.Listen != ":12121" {
		t.Errorf("settings %+v", c)
	}
	bans := make(map[string]rules.Kind)
	for _, b := range set.Bans {
		bans[b.Text] = b.Kind
	}
	if len(bans) != 5 || bans["stratum+tcp"] != set.Bans[0].Kind || len(set.Allowed) != 1 {
		t.Errorf("bans %v, allow patterns %v", bans, set.Allowed)
	}
	if got := at(settings(t, files), "containers", "nestedSockets"); !reflect.DeepEqual(got, []any{"/var/run/dind/docker.sock"}) {
		t.Errorf("sockets of Docker in pods: %v", got)
	}
	if got := at(container(t, files), "resources", "limits", "memory"); got != at(parse(t, read(t, chartDir+"/values.yaml")), "resources", "limits", "memory") {
		t.Errorf("an old limit, of another program, became %v", got)
	}
}

// The selector of a DaemonSet never changes, so an upgrade from the earlier
// chart works only if it is the same.
func TestAnUpgradeFindsTheOldDaemonSet(t *testing.T) {
	for release, name := range map[string]string{"cryptnono": "cryptnono", "binder": "binder-cryptnono", "my-cryptnono-2": "my-cryptnono-2"} {
		files, err := renderTo(t, target{release: release}, values{})
		if err != nil {
			t.Fatal(err)
		}
		d := daemonSet(t, files)
		if got := at(d, "metadata", "name"); got != name {
			t.Errorf("release %s: name %v", release, got)
		}
		want := values{"app.kubernetes.io/name": "cryptnono", "app.kubernetes.io/instance": release}
		if got := at(d, "spec", "selector", "matchLabels"); !reflect.DeepEqual(got, want) {
			t.Errorf("release %s: selector %v", release, got)
		}
	}
}
