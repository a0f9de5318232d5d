package chart

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	helm "helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
)

// renderIn renders this chart as a dependency of another one, as known sites have it.
// Their values have its own below the alias, or below its name if that is empty.
func renderIn(t *testing.T, alias string, v values) map[string]string {
	t.Helper()
	parent := &helm.Chart{Metadata: &helm.Metadata{APIVersion: "v2", Name: "hub", Version: "1.0.0", Dependencies: []*helm.Dependency{
		{Name: "cryptnono", Version: ">=0.0.0-0", Alias: alias, Condition: "cryptnono.enabled"},
	}}}
	parent.AddDependency(load(t))
	files, err := renderChart(t, parent, target{release: "hub"}, v)
	if err != nil {
		t.Fatal(err)
	}
	short := make(map[string]string)
	for name, text := range files {
		short[name[strings.Index(name, "/templates/")+len("/templates/"):]] = text
	}
	return short
}

// Two sites that have this chart as a dependency, with the values that they give to the
// older one. Their operators see no notes, so the agent gets what is there to say.
func TestTheValuesOfTwoSitesWorkInAnotherChart(t *testing.T) {
	resources := " has no effect: Set resources, but no CPU limit: it delays the start, reloads and kills. One container has all detectors."
	for _, site := range []struct {
		name    string
		notices []any
		check   func(t *testing.T, settings values, pod any)
	}{
		{
			"mybinder",
			[]any{"detectors.tcpflowkiller.config.FlowKiller.banned_ipv4_file_globs has no effect: Remove it. bannedIpv4ConfigMaps is enough."},
			func(t *testing.T, s values, pod any) {
				if want := []any{"BINDER_CLIENT_IP", "BINDER_REF_URL"}; !reflect.DeepEqual(s["logEnv"], want) {
					t.Errorf("logEnv %v", s["logEnv"])
				}
				want := values{"sockets": []any{"/run/k3s/containerd/containerd.sock"}, "nestedSockets": []any{"/run/dind/docker.sock"}}
				if !reflect.DeepEqual(s["containers"], want) {
					t.Errorf("containers %v", s["containers"])
				}
				if at(s, "tcpflowkiller", "scan", "distinct") != 24.0 || at(s, "tcpflowkiller", "enabled") != true {
					t.Errorf("tcpflowkiller %v", s["tcpflowkiller"])
				}
				if want := []any{"/etc/cryptnono/rules/configs", "/etc/cryptnono/rules/addresses/banned-ips"}; !reflect.DeepEqual(s["rules"], want) {
					t.Errorf("rules %v", s["rules"])
				}
				if at(pod, "spec", "priorityClassName") != "binderhub-core" || at(pod, "metadata", "annotations", "prometheus.io/port") != "12121" {
					t.Errorf("pod %v", pod)
				}
			},
		},
		{
			"2i2c",
			[]any{
				"detectors.monero.resources" + resources, "fetchKernelHeaders has no effect: Remove it. The agent needs no kernel headers.",
				"only metrics.enabled has no effect: enable metrics.podMonitor, serviceMonitor or collector as well, so that Prometheus finds the agents",
			},
			func(t *testing.T, s values, pod any) {
				if want := []any{"/etc/cryptnono/rules/configs"}; !reflect.DeepEqual(s["rules"], want) {
					t.Errorf("rules %v", s["rules"])
				}
				if at(pod, "spec", "containers", 0, "resources", "limits", "cpu") != nil {
					t.Errorf("a limit of the CPU: %v", pod)
				}
			},
		},
	} {
		for _, alias := range []string{"", "minerguard"} {
			t.Run(strings.TrimSuffix(site.name+" as "+alias, " as "), func(t *testing.T) {
				v, name := parse(t, read(t, "testdata/site-"+site.name+".yaml")), "hub-cryptnono"
				if alias != "" {
					v, name = values{alias: v["cryptnono"]}, "hub-"+alias
				}
				files := renderIn(t, alias, v)
				all := objects(t, files)
				var s values
				if err := json.Unmarshal([]byte(text(t, all["ConfigMap "+name], "data", "settings.json")), &s); err != nil {
					t.Fatalf("%v: %v", slices.Sorted(maps.Keys(all)), err)
				}
				if !reflect.DeepEqual(s["notices"], site.notices) {
					t.Errorf("notices %q", s["notices"])
				}
				site.check(t, s, at(all["DaemonSet "+name], "spec", "template"))
			})
		}
	}
}

func TestASiteCanTurnTheChartOffByItsCondition(t *testing.T) {
	files := renderIn(t, "", values{"cryptnono": values{"enabled": false}})
	if len(files) != 0 {
		t.Errorf("rendered: %q", slices.Sorted(maps.Keys(files)))
	}
}

// With --reuse-values Helm uses the default values of the chart that was installed before.
func TestTheDefaultsOfAnotherVersionAreRefusedWithTheRemedy(t *testing.T) {
	c := load(t)
	c.Values = parse(t, "detectors: {execwhacker: {enabled: true, metrics: {port: 12121}}, monero: {enabled: true}}\nimage: {repository: a, tag: b}")
	if _, err := renderChart(t, c, target{}, values{}); err == nil || !strings.Contains(err.Error(), "--reset-then-reuse-values") {
		t.Errorf("got %v", err)
	}
	for key, value := range load(t).Values {
		if _, group := value.(values); !group || !strings.Contains(allTemplates(t), ".Values."+key+".") {
			continue
		}
		c := load(t)
		delete(c.Values, key)
		v, err := chartutil.CoalesceValues(c, values{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := renderChart(t, c, target{}, v); key != "detectors" && (err == nil || !strings.Contains(err.Error(), "the value "+key+" is missing")) {
			t.Errorf("without %s: %v", key, err)
		}
	}
}

// allTemplates returns the text of all templates.
func allTemplates(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, f := range load(t).Templates {
		all.Write(f.Data)
	}
	return all.String()
}
