package chart

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/chartutil"

	"github.com/cryptnono/cryptnono/internal/config"
	"github.com/cryptnono/cryptnono/internal/guard"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// settings returns the settings file of rendered files, as its values.
func settings(t *testing.T, files map[string]string) values {
	t.Helper()
	var s values
	if err := json.Unmarshal([]byte(text(t, objects(t, files)["ConfigMap cryptnono"], "data", "settings.json")), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// said returns a configuration as text, in which nil is as good as empty.
func said(c config.Config) string {
	c.Places = nil // they are of the file
	return fmt.Sprintf("%+v", c)
}

func TestTheAgentReadsTheDefaultSettings(t *testing.T) {
	t.Setenv("NODE_NAME", "n1")
	c, set := agentReads(t, render(t, "{}"))
	want := config.Default()
	want.Listen = ":12121"
	want.Exemptions.Namespaces = []string{"kube-system"} // the agent alone exempts none
	if said(c) != said(want) || c.NodeName != "n1" {
		t.Errorf("got  %s\nwant %s", said(c), said(want))
	}
	if len(set.Bans)+len(set.Allowed) != 0 {
		t.Errorf("%d bans, %d allow patterns besides the built-in ones", len(set.Bans), len(set.Allowed))
	}
}

func TestTheAgentReadsEverySetting(t *testing.T) {
	c, _ := agentReads(t, render(t, `
action: observe
builtinRules: false
scanInterval: 1m30s
logLevel: warn
logEnv: [JUPYTERHUB_USER, BINDER_REF_URL]
exemptions:
  namespaces: [jupyterhub-system, kube-system]
  podLabels: [component=hub, example.org/trusted]
  cgroups: [/system.slice/kubelet.service]
  programs: [/usr/sbin/dnsmasq]
brake: {killsPerMinute: 60, containerKillsPerMinute: 5, quietPeriod: 1h}
containers:
  sockets: [/run/own/containerd.sock]
  innerSockets: [/var/run/own/docker.sock]
  cgroupBase: /docker/0123
detectors:
  execwhacker:
    enabled: true
    configs: {mysite: {bannedCommandStrings: [pool.example]}}
    metrics: {port: 9121}
  monero:
    enabled: true
    action: observe
    killUncorroborated: true
    thresholds:
      window: 1m
      spacing: 20ms
      pairSpacing: 80ms
      maxPairGap: 5s
      maxThreads: 100
      minSamples: 128
      minPairs: 65
      minPairsSum: 257
      minDirected: 0.6
      minJIT: 0.9
      minEachMode: 0.13
      minNearest: 0.11
      maxNearest: 0.61
      maxUneven: 13
      maxDependent: 27
      maxHeld: 0.64
`))
	want := config.Default()
	want.Rules = c.Rules // TestTheAgentReadsRulesFromValues
	want.Action, want.BuiltinRules, want.ScanInterval = rules.Observe, false, 90*time.Second
	want.Listen, want.LogLevel, want.LogEnv = ":9121", slog.LevelWarn, []string{"JUPYTERHUB_USER", "BINDER_REF_URL"}
	want.Guard = guard.Policy{
		Exemptions: guard.Exemptions{
			Namespaces: []string{"jupyterhub-system", "kube-system"}, PodLabels: []string{"component=hub", "example.org/trusted"},
			Cgroups: []string{"/system.slice/kubelet.service"}, Programs: []string{"/usr/sbin/dnsmasq"},
		},
		Brake: guard.Brake{KillsPerMinute: 60, ContainerKillsPerMinute: 5, QuietPeriod: time.Hour},
	}
	want.Containers = config.Containers{
		Sockets: []string{"/run/own/containerd.sock"}, InnerSockets: []string{"/var/run/own/docker.sock"}, CgroupBase: "/docker/0123",
	}
	want.Monero.Action, want.Monero.KillUncorroborated = rules.Observe, true
	r := &want.Monero.Thresholds
	r.Window, r.Spacing, r.PairSpacing, r.MaxPairGap = time.Minute, 20*time.Millisecond, 80*time.Millisecond, 5*time.Second
	r.MaxThreads, r.MinSamples, r.MinPairs, r.MinPairsSum = 100, 128, 65, 257
	r.MinDirected, r.MinJIT, r.MinEachMode, r.MinNearest, r.MaxNearest = 0.6, 0.9, 0.13, 0.11, 0.61
	r.MaxUneven, r.MaxDependent, r.MaxHeld = 13, 27, 0.64
	if said(c) != said(want) {
		t.Errorf("got  %s\nwant %s", said(c), said(want))
	}
}

func TestTheAgentIsToldTheNameOfItsNode(t *testing.T) {
	want := values{"name": "NODE_NAME", "valueFrom": values{"fieldRef": values{"fieldPath": "spec.nodeName"}}}
	if got := at(container(t, render(t, "{}")), "env", 0); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

// What the agent can follow while it runs is not worth a restart; what it cannot,
// or would refuse, needs one.
func TestPodsAreReplacedForThoseSettingsAloneThatCannotChangeInThem(t *testing.T) {
	const rules = "detectors: {execwhacker: {configs: {mysite: {bannedCommandStrings: [pool.example]}}}}"
	before := at(daemonSet(t, render(t, rules)), "spec", "template")
	for text, replaced := range map[string]bool{
		"action: observe":                        false,
		"builtinRules: false":                    false,
		"scanInterval: 1m":                       false,
		"logLevel: debug":                        false,
		"logEnv: [USER]":                         false,
		"exemptions: {namespaces: [a]}":          false,
		"brake: {killsPerMinute: 10}":            false,
		"detectors: {monero: {enabled: false}}":  false,
		"detectors: {monero: {action: observe}}": false,
		"detectors: {execwhacker: {configs: {mysite: {bannedCommandStrings: [other.example]}}}}": false,

		"containers: {sockets: [/run/a.sock]}":                               true,
		"containers: {innerSockets: [/run/a.sock]}":                          true,
		"containers: {cgroupBase: /docker/a}":                                true,
		"detectors: {execwhacker: {containerdHostPath: /run/a.sock}}":        true,
		"detectors: {execwhacker: {dockerHostPath: /var/run/a/docker.sock}}": true,
		"detectors: {execwhacker: {metrics: {port: 9121}}}":                  true,
	} {
		files, err := renderTo(t, target{}, chartutil.CoalesceTables(parse(t, text), parse(t, rules)))
		if err != nil {
			t.Fatal(err)
		}
		if got := !reflect.DeepEqual(at(daemonSet(t, files), "spec", "template"), before); got != replaced {
			t.Errorf("%s: pods are replaced: %v", text, got)
		}
	}
}

func TestSocketsOfEarlierVersionsAreAdded(t *testing.T) {
	for _, c := range []struct {
		name, values   string
		sockets, inner []any
	}{
		{"none", "{}", []any{}, []any{}},
		{
			"those of a BinderHub site",
			"detectors: {execwhacker: {containerdHostPath: /run/containerd/containerd.sock, dockerHostPath: /var/run/dind/docker.sock}}",
			[]any{"/run/containerd/containerd.sock"}, []any{"/var/run/dind/docker.sock"},
		},
		{"the host's Docker", "detectors: {execwhacker: {dockerHostPath: /var/run/docker.sock}}", []any{"/var/run/docker.sock"}, []any{}},
		{"by its other name", "detectors: {execwhacker: {dockerHostPath: /run/docker.sock}}", []any{"/run/docker.sock"}, []any{}},
		{
			"to those of the values",
			"containers: {sockets: [/run/a.sock], innerSockets: [/run/b/docker.sock]}\n" +
				"detectors: {execwhacker: {containerdHostPath: /run/c.sock, dockerHostPath: /run/d/docker.sock}}",
			[]any{"/run/a.sock", "/run/c.sock"}, []any{"/run/b/docker.sock", "/run/d/docker.sock"},
		},
		{
			"once", "containers: {sockets: [/run/a.sock]}\ndetectors: {execwhacker: {containerdHostPath: /run/a.sock}}",
			[]any{"/run/a.sock"}, []any{},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := settings(t, render(t, c.values))["containers"]
			if want := (values{"sockets": c.sockets, "innerSockets": c.inner}); !reflect.DeepEqual(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}
