package chart

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/chartutil"

	"github.com/cryptnono/cryptnono/internal/config"
	"github.com/cryptnono/cryptnono/internal/detector/monero"
	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
	"github.com/cryptnono/cryptnono/internal/detector/tcpflowkiller"
	"github.com/cryptnono/cryptnono/internal/detectors"
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/killlimit"
	"github.com/cryptnono/cryptnono/internal/notify"
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

// said returns a configuration as text, in which nil and empty are the same.
func said(c config.Config) string {
	var detectors string
	for _, name := range slices.Sorted(maps.Keys(c.Detectors)) {
		detectors += fmt.Sprintf(" %s: %+v", name, c.Detectors[name])
	}
	c.Places, c.Detectors = nil, nil // the first are of the file, the others pointers
	return fmt.Sprintf("%+v", c) + detectors
}

func TestTheAgentReadsTheDefaultSettings(t *testing.T) {
	t.Setenv("NODE_NAME", "n1")
	c, set := agentReads(t, render(t, "{}"))
	want := config.Default(detectors.All())
	want.Listen = ":12121"
	want.Exemptions.Namespaces, want.Exemptions.NodeRoot = []string{"kube-system"}, true // without the chart, the agent exempts none
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
pins: /sys/fs/bpf/own
logLevel: warn
logEnv: [JUPYTERHUB_USER, BINDER_REF_URL]
logAnnotations: [example.org/team]
notify:
  receivers:
    - name: talon
      format: falcosidekick
      url: http://falco-talon.falco:2803/
      timeout: 3s
      each: true
      actions: [killed]
    - name: siem
      urlFile: /etc/cryptnono/notify/siem/url
      headersFile: /etc/cryptnono/notify/siem/headers
      caFile: /etc/cryptnono/notify/siem/ca
exemptions:
  namespaces: [jupyterhub-system, kube-system]
  podLabels: [component=hub, example.org/trusted]
  cgroups: [/system.slice/kubelet.service]
  programs: [/usr/sbin/dnsmasq]
  nodeRoot: false
killLimit: {victims: 20, warmUp: 1h, perMinute: 60, perContainer: 5, cooldown: 1h}
containers:
  sockets: [/run/own/containerd.sock]
  nestedSockets: [/var/run/own/docker.sock]
  cgroupRoot: /docker/0123
detectors:
  execwhacker:
    enabled: true
    configs: {mysite: {bannedCommandStrings: [pool.example]}}
    metrics: {port: 9121}
  monero:
    enabled: true
    action: observe
    killWithoutMemoryEvidence: true
    thresholds:
      window: 1m
      maxThreads: 100
      minSamples: 128
      minDirected: 0.6
      minPairs: 65
  tcpflowkiller:
    action: refuse
    stratum: observe
    http: off
    names: refuse
    scan:
      action: kill
      unanswered: 20
      webFactor: 4
      pending: 50
      ports: 33
      guessing: 0
      distinct: 99
      window: 2m
      exceptPorts: [25, "9100"]
`))
	want := config.Default(detectors.All())
	want.Rules = c.Rules // TestTheAgentReadsRulesFromValues
	want.BuiltinRules.SwitchAll(false)
	want.Pins = "/sys/fs/bpf/own"
	want.Action, want.ScanInterval = rules.Observe, 90*time.Second
	want.Listen, want.LogLevel, want.LogEnv = ":9121", slog.LevelWarn, []string{"JUPYTERHUB_USER", "BINDER_REF_URL"}
	want.Annotations = []string{"example.org/team"}
	talon, siem := notify.Usual(), notify.Usual()
	talon.Name, talon.Format, talon.URL, talon.Timeout, talon.Each, talon.Actions = "talon", notify.Falcosidekick, "http://falco-talon.falco:2803/", 3*time.Second, true, []string{"killed"}
	siem.Name, siem.URLFile, siem.HeadersFile, siem.CAFile = "siem", "/etc/cryptnono/notify/siem/url", "/etc/cryptnono/notify/siem/headers", "/etc/cryptnono/notify/siem/ca"
	want.Receivers = []notify.Receiver{talon, siem}
	want.Exemptions = exempt.Rules{
		Namespaces: []string{"jupyterhub-system", "kube-system"}, PodLabels: []string{"component=hub", "example.org/trusted"},
		Cgroups: []string{"/system.slice/kubelet.service"}, Programs: []string{"/usr/sbin/dnsmasq"},
	}
	want.KillLimit = killlimit.Limits{Victims: 20, WarmUp: time.Hour, PerMinute: 60, PerContainer: 5, Cooldown: time.Hour}
	want.Containers = config.Containers{
		Sockets: []string{"/run/own/containerd.sock"}, NestedSockets: []string{"/var/run/own/docker.sock"}, CgroupRoot: "/docker/0123",
	}
	want.Detectors[monero.Name] = &monero.Settings{
		Enabled: true, Action: rules.Observe, KillWithoutMemoryEvidence: true,
		Thresholds: rounding.Thresholds{Window: time.Minute, MaxThreads: 100, MinSamples: 128, MinDirected: 0.6, MinPairs: 65},
	}
	want.Detectors[tcpflowkiller.Name] = &tcpflowkiller.Settings{
		Enabled: true, Action: tcpflowkiller.Refuse, Stratum: tcpflowkiller.Observe, HTTP: tcpflowkiller.Off, Names: tcpflowkiller.Refuse,
		Scan: tcpflowkiller.ScanSettings{
			Action: tcpflowkiller.Kill, Unanswered: 20, WebFactor: 4, Pending: 50, Ports: 33, Distinct: 99, Window: 2 * time.Minute,
			ExceptPorts: []string{"25", "9100"},
		},
	}
	if said(c) != said(want) {
		t.Errorf("got  %s\nwant %s", said(c), said(want))
	}
}

// Helm reads values as YAML 1.1, where off is false.
func TestTheAgentReadsTheActionsOfBuiltInRules(t *testing.T) {
	for text, changed := range map[string]rules.Actions{
		"true":                                {},
		"{}":                                  {},
		"{pools: kill}":                       {"pools": rules.Kill},
		"{miners: observe, pools: off}":       {"miners": rules.Observe, "pools": rules.Off},
		"{miners: false, pools: true}":        {"miners": rules.Off},
		`{malware: null, stratum: "observe"}`: {"stratum": rules.Observe},
	} {
		c, _ := agentReads(t, render(t, "builtinRules: "+text))
		want := rules.DefaultActions()
		maps.Copy(want, changed)
		if !maps.Equal(c.BuiltinRules, want) {
			t.Errorf("%s: got %v, want %v", text, c.BuiltinRules, want)
		}
	}
}

func TestTheAgentGetsTheNameOfItsNode(t *testing.T) {
	want := values{"name": "NODE_NAME", "valueFrom": values{"fieldRef": values{"fieldPath": "spec.nodeName"}}}
	if got := at(container(t, render(t, "{}")), "env", 0); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestPodsAreReplacedOnlyForSettingsThatARunningAgentCannotChange(t *testing.T) {
	const rules = "detectors: {execwhacker: {configs: {mysite: {bannedCommandStrings: [pool.example]}}}}"
	before := at(daemonSet(t, render(t, rules)), "spec", "template")
	for text, replaced := range map[string]bool{
		"action: observe": false,
		"notify: {receivers: [{name: a, url: \"http://a/\"}]}": true, // for the DNS policy
		"logAnnotations: []":                     true,
		"builtinRules: false":                    false,
		"builtinRules: {pools: kill}":            false,
		"scanInterval: 1m":                       false,
		"logLevel: debug":                        false,
		"logEnv: [USER]":                         false,
		"exemptions: {namespaces: [a]}":          false,
		"killLimit: {perMinute: 10}":             false,
		"detectors: {monero: {enabled: false}}":  false,
		"detectors: {monero: {action: observe}}": false,
		"detectors: {execwhacker: {configs: {mysite: {bannedCommandStrings: [other.example]}}}}": false,

		"containers: {sockets: [/run/a.sock]}":                               true,
		"containers: {nestedSockets: [/run/a.sock]}":                         true,
		"containers: {cgroupRoot: /docker/a}":                                true,
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
			"containers: {sockets: [/run/a.sock], nestedSockets: [/run/b/docker.sock]}\n" +
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
			if want := (values{"sockets": c.sockets, "nestedSockets": c.inner}); !reflect.DeepEqual(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// The agent would refuse it, also for a detector that is off.
func TestAThresholdThatIsTooLargeTurnsTheLimitOff(t *testing.T) {
	files, err := renderChart(t, load(t), target{}, parse(t, `
detectors:
  tcpflowkiller: {enabled: false, config: {FlowKiller: {unique_destinations_threshold: 251}}}
`))
	if err != nil {
		t.Fatal(err)
	}
	of, _ := settings(t, files)["tcpflowkiller"].(values)
	if scan, _ := of["scan"].(values); scan["distinct"] != 0.0 {
		t.Errorf("tcpflowkiller has %v", of)
	}
}

// The templates name no setting of a detector, so the settings of a detector that the
// chart does not have yet reach the agent as well.
func TestTheSettingsOfAnyDetectorReachTheAgent(t *testing.T) {
	c := load(t)
	c.Schema = nil // it names the detectors, and is generated with the values
	files, err := renderChart(t, c, target{}, parse(t, `
detectors:
  execwhacker: {enabled: false}
  monero: {enabled: false}
  tcpflowkiller: {enabled: true, config: {FlowKiller: {unique_destinations_threshold: 15}}, scan: {ports: 7}, env: {A: b}}
  probe: {enabled: true, depth: {of: 3}}
`))
	if err != nil {
		t.Fatal(err)
	}
	s := settings(t, files)
	if want := (values{"enabled": true, "depth": values{"of": 3.0}}); !reflect.DeepEqual(s["probe"], want) {
		t.Errorf("got %v, want %v", s["probe"], want)
	}
	of, _ := s["tcpflowkiller"].(values)
	if scan, _ := of["scan"].(values); scan["distinct"] != 15.0 || scan["ports"] != 7.0 || scan["pending"] != 48.0 || of["env"] != nil || of["config"] != nil {
		t.Errorf("tcpflowkiller has %v", of)
	}
	if want := (values{"enabled": false}); !reflect.DeepEqual(s["execwhacker"], want) {
		t.Errorf("execwhacker has %v, want %v", s["execwhacker"], want)
	}
}
