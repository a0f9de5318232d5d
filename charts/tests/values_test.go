package chart

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"

	"github.com/cryptnono/cryptnono/internal/rules"
)

// A place is an object in the schema that lists its keys.
type place struct {
	path []string
	keys []string
}

// places returns the objects in a schema that list their keys. Those of Kubernetes, such
// as affinity, do not: the API server checks them.
func places(schema, node values, path []string) []place {
	for {
		ref, ok := node["$ref"].(string)
		if !ok {
			break
		}
		node = schema["definitions"].(values)[strings.TrimPrefix(ref, "#/definitions/")].(values)
	}
	if node["additionalProperties"] == nil {
		return nil
	}
	// Any key with the same kind of value: rules by name.
	if each, ok := node["additionalProperties"].(values); ok {
		return places(schema, each, append(slices.Clone(path), "name"))
	}
	properties, ok := node["properties"].(values)
	if !ok {
		return nil
	}
	found := []place{{path, slices.Sorted(maps.Keys(properties))}}
	for _, key := range found[0].keys {
		found = append(found, places(schema, properties[key].(values), append(slices.Clone(path), key))...)
	}
	return found
}

func schemaPlaces(t *testing.T) []place {
	t.Helper()
	var schema values
	if err := json.Unmarshal([]byte(read(t, chartDir+"/values.schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	return places(schema, schema, nil)
}

// nested returns values with one value at a path.
func nested(path []string, value any) values {
	for _, key := range slices.Backward(path) {
		value = values{key: value}
	}
	return value.(values)
}

func TestUnknownKeysAreRefusedAtEveryLevel(t *testing.T) {
	all := schemaPlaces(t)
	if len(all) < 25 {
		t.Fatalf("only %d places in the schema", len(all))
	}
	for _, p := range all {
		path := append(slices.Clone(p.path), "mistyped")
		_, err := renderTo(t, target{}, nested(path, true))
		if err == nil || !strings.Contains(err.Error(), "mistyped") {
			t.Errorf("%s: %v", strings.Join(path, "."), err)
		}
	}
}

func TestTheSchemaKnowsEveryValue(t *testing.T) {
	known := make(map[string][]string)
	for _, p := range schemaPlaces(t) {
		known[strings.Join(p.path, ".")] = p.keys
	}
	var walk func(v values, path []string)
	walk = func(v values, path []string) {
		keys, ok := known[strings.Join(path, ".")]
		if !ok {
			return
		}
		for key, value := range v {
			if !slices.Contains(keys, key) {
				t.Errorf("no %s.%s in values.schema.json", strings.Join(path, "."), key)
			}
			if m, ok := value.(values); ok {
				walk(m, append(slices.Clone(path), key))
			}
		}
	}
	walk(parse(t, read(t, chartDir+"/values.yaml")), nil)
}

// `--set scanInterval=600` gives a number.
func TestATimeWithoutAUnitIsRefusedAsOne(t *testing.T) {
	for _, keys := range [][]string{{"scanInterval"}, {"detectors", "tcpflowkiller", "scan", "window"}} {
		_, err := renderTo(t, target{}, nested(keys, 600))
		if err == nil || !strings.Contains(err.Error(), "got number, want string") || strings.Contains(err.Error(), "maximum") {
			t.Errorf("%q: %v", keys, err)
		}
	}
	render(t, "scanInterval: 0")
}

func TestValuesOfAWrongKindAreRefused(t *testing.T) {
	for _, text := range []string{
		"action: kil",
		"scanInterval: 600",
		"scanInterval: ten minutes",
		"logLevel: loud",
		"logEnv: USER",
		"builtinRules: please",
		"builtinRules: {pool: kill}",
		"builtinRules: {pools: spare}",
		"exemptions: {namespaces: kube-system}",
		"exemptions: {programs: [sshd]}",
		"killLimit: {perMinute: -1}",
		"killLimit: {perMinute: many}",
		"containers: {sockets: [containerd.sock]}",
		"containers: {nestedSockets: docker.sock}",
		"containers: {cgroupRoot: docker}",
		"resources: none",
		"tolerations: {}",
		"image: {pullPolicy: Sometimes}",
		"detectors: {execwhacker: {metrics: {port: 0}}}",
		"detectors: {execwhacker: {metrics: {port: http}}}",
		"detectors: {execwhacker: {configs: [a]}}",
		"detectors: {execwhacker: {configs: {a.b: {}}}}",
		"detectors: {execwhacker: {configs: {a: {bannedCommandStrings: pool}}}}",
		"detectors: {execwhacker: {configs: {a: {bannedCommandStrings: [3333]}}}}",
		"detectors: {execwhacker: {configs: {a: {bannedCommandStrings: ['']}}}}",
		"detectors: {execwhacker: {configs: {a: {bannedCommandStrings: ['-o']}}}}",
		"detectors: {execwhacker: {configs: {a: {bannedCommandSubstrings: [' a ']}}}}",
		"detectors: {execwhacker: {configs: {a: {bannedPrograms: [/usr/bin/xmrig]}}}}",
		"detectors: {execwhacker: {configMaps: pools}}",
		"detectors: {execwhacker: {configMaps: [pools, pools]}}",
		"detectors: {execwhacker: {secrets: [../../etc]}}",
		"detectors: {monero: {action: none}}",
		"detectors: {monero: {thresholds: {minDirected: 2}}}",
		"extraCapabilities: [sys_resource]",
		"extraCapabilities: [CAP_SYS_RESOURCE]",
		"updateStrategy: {type: Recreate}",
		"podAnnotations: {a: 1}",
	} {
		if _, err := renderTo(t, target{}, parse(t, text)); err == nil {
			t.Errorf("%s: accepted", text)
		}
	}
}

func TestValuesThatContradictEachOtherAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"builtinRules: false": "it has no rules",
		"builtinRules: {" + strings.Join(slices.Sorted(maps.Keys(rules.DefaultActions())), ": off, ") + ": false}":                          "it has no rules",
		"detectors: {tcpflowkiller: {config: {FlowKiller: {banned_ipv4_file_globs: [/ban-config/*]}}}}":                                     "bannedIpv4ConfigMaps",
		"detectors: {tcpflowkiller: {config: {FlowKiller: {unique_destinations_threshold: 251}}}}":                                          "at most 250",
		"detectors: {execwhacker: {enabled: false}, monero: {enabled: false}, tcpflowkiller: {enabled: false}, hashwork: {enabled: false}}": "none is enabled",
	} {
		if _, err := renderTo(t, target{}, parse(t, text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Each value, changed on its own, gives valid YAML and a DaemonSet with one container.
func TestEveryOptionRenders(t *testing.T) {
	for _, text := range []string{
		"action: observe",
		"scanInterval: '0'",
		"scanInterval: 0",
		"logEnv: [JUPYTERHUB_USER]",
		"detectors: {execwhacker: {configs: {a: {bannedCommandStrings: [abc, 矿池]}}}}",
		"exemptions: {namespaces: [], podLabels: [component=hub], cgroups: ['/system.slice/kubelet.service'], programs: [/usr/sbin/dnsmasq]}",
		"killLimit: {perMinute: 30, perContainer: 5, cooldown: 1h}",
		"containers: {sockets: [/run/a.sock], nestedSockets: [/run/b/docker.sock], cgroupRoot: /docker/a}",
		"detectors: {execwhacker: {enabled: false}}",
		"detectors: {monero: {enabled: false}}",
		"detectors: {monero: {action: observe, killWithoutMemoryEvidence: true, thresholds: {window: 1m, minDirected: 0.9, minSamples: 100}}}",
		"detectors: {execwhacker: {debug: true}}",
		"metrics: {enabled: true}",
		"resources: null",
		"resources: {limits: {cpu: '1'}}",
		"updateStrategy: {type: OnDelete}",
		"updateStrategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 25%}}",
		"priorityClassName: system-node-critical",
		"nodeSelector: {a: b}",
		"tolerations: []",
		"podLabels: {a: b}",
		"extraEnv: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}]",
		"serviceAccount: {create: false}",
		"serviceAccount: {create: true, name: own, annotations: {a: b}}",
		"terminationGracePeriodSeconds: 30",
		"dnsPolicy: ClusterFirst",
		"livenessProbe: {failureThreshold: 3}",
		"imagePullSecrets: [{name: s}]",
		"global: {a: 1}\nenabled: true",
	} {
		t.Run(text, func(t *testing.T) {
			files := render(t, text)
			c := container(t, files)
			for _, probe := range []string{"startupProbe", "livenessProbe", "readinessProbe"} {
				if at(c, probe, "httpGet", "port") != "http" || at(c, probe, "periodSeconds") == nil {
					t.Errorf("%s is %v", probe, c[probe])
				}
			}
			for name, o := range objects(t, files) {
				if at(o, "metadata", "labels", "app.kubernetes.io/instance") != "cryptnono" {
					t.Errorf("%s has no label of the release", name)
				}
			}
			for _, v := range pod(t, files)["volumes"].([]any) {
				if at(v, "hostPath") != nil {
					t.Errorf("a host path is mounted: %v", v)
				}
			}
			agentReads(t, files)
		})
	}
}

// All of these are text, also where YAML could read a number or a boolean.
func TestNamesThatLookLikeNumbersAreText(t *testing.T) {
	files, err := renderTo(t, target{release: "123", namespace: "1e3"}, parse(t, `
fullnameOverride: "456"
nameOverride: "789"
priorityClassName: "12"
serviceAccount: {name: "34"}
detectors: {execwhacker: {configs: {"on": {}, "7": {}}, configMaps: ["56"], secrets: ["78"], env: {"ON": "y"}}}
metrics: {enabled: true, serviceMonitor: {enabled: true}, grafanaDashboard: {enabled: true, namespace: "90"}}
`))
	if err != nil {
		t.Fatal(err)
	}
	if all := objects(t, files); all["DaemonSet 456"] == nil {
		t.Errorf("objects %v", slices.Sorted(maps.Keys(all)))
	}
}

func TestEveryOldFileRendersWithoutHostPaths(t *testing.T) {
	for _, file := range []string{"testdata/old-all-keys.yaml", "testdata/old-binder-site.yaml"} {
		for _, v := range pod(t, render(t, read(t, file)))["volumes"].([]any) {
			if at(v, "hostPath") != nil {
				t.Errorf("%s: %v", file, v)
			}
		}
	}
}

func TestThePackedChartHasNoFilesForDevelopment(t *testing.T) {
	file, err := chartutil.Save(load(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	packed, err := loader.LoadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range packed.Raw {
		names = append(names, f.Name)
	}
	for _, want := range []string{"README.md", "alerts/cryptnono.yaml", "dashboards/cryptnono.json", "values.schema.json"} {
		if !slices.Contains(names, want) {
			t.Errorf("no %s in %q", want, names)
		}
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".gotmpl") {
			t.Errorf("%s is packed", name)
		}
	}
}
