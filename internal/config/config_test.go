package config

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/execwhacker"
	"github.com/cryptnono/cryptnono/internal/detector/monero"
	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
	"github.com/cryptnono/cryptnono/internal/detectors"
	"github.com/cryptnono/cryptnono/internal/escalate"
	"github.com/cryptnono/cryptnono/internal/evidence"
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/killlimit"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/setting"
)

// kinds returns two detectors, so that the texts below do not depend on their number.
func kinds() []detector.Kind { return []detector.Kind{execwhacker.Kind(), monero.Kind()} }

// load loads a settings file with this content, named settings.yaml.
func load(t *testing.T, content string) (Config, string, error) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "settings.yaml")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file, kinds())
	return c, dir, err
}

func TestTheDefaultsAreValid(t *testing.T) {
	c := Default(detectors.All())
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

func TestAnEmptyMapChangesNothing(t *testing.T) {
	got, _, err := load(t, "{}")
	got.Places = nil
	if err != nil || !reflect.DeepEqual(got, Default(kinds())) {
		t.Errorf("got %+v and error %v", got, err)
	}
}

func TestTheFileOverridesTheDefaults(t *testing.T) {
	for name, content := range map[string]string{
		"YAML": `
rules: [rules.d, ../pools.json, /etc/more]
builtinRules: false
action: observe
onBadRules: stop
scanInterval: 1m30s
listen: ":9090"
listenTokenFile: token
logLevel: debug
logEnv: [BINDER_REF_URL]
logAnnotations: [example.org/team]
nodeName: n1
containers: {sockets: [/run/a.sock], nestedSockets: [/run/b/docker.sock], cgroupRoot: /docker/x}
exemptions: {namespaces: [kube-system], podLabels: [a=b], cgroups: [/system.slice/kubelet.service], programs: [/usr/sbin/dnsmasq], nodeRoot: true}
killLimit: {victims: 20, warmUp: 1h, perMinute: 30, perContainer: 5, cooldown: 5m}
escalation: {parent: observe, parentKills: 4, container: kill, containerKills: 7, within: 2m, sessions: true}
evidence: {executable: false, interval: 1h}
execwhacker: {enabled: false}
monero:
  action: observe
  killWithoutMemoryEvidence: true
  thresholds: {window: 1m, maxThreads: 100, minSamples: 128, minDirected: 0.6, minPairs: 65}
`,
		"JSON": `{"rules": ["rules.d", "../pools.json", "/etc/more"], "builtinRules": false, "action": "observe", "onBadRules": "stop",
			"scanInterval": "1m30s", "listen": ":9090", "listenTokenFile": "token", "logLevel": "debug", "logEnv": ["BINDER_REF_URL"], "logAnnotations": ["example.org/team"], "nodeName": "n1",
			"containers": {"sockets": ["/run/a.sock"], "nestedSockets": ["/run/b/docker.sock"], "cgroupRoot": "/docker/x"},
			"exemptions": {"namespaces": ["kube-system"], "podLabels": ["a=b"], "cgroups": ["/system.slice/kubelet.service"], "programs": ["/usr/sbin/dnsmasq"], "nodeRoot": true},
			"killLimit": {"victims": 20, "warmUp": "1h", "perMinute": 30, "perContainer": 5, "cooldown": "5m"},
			"escalation": {"parent": "observe", "parentKills": 4, "container": "kill", "containerKills": 7, "within": "2m", "sessions": true},
			"evidence": {"executable": false, "interval": "1h"},
			"execwhacker": {"enabled": false}, "monero": {"action": "observe", "killWithoutMemoryEvidence": true,
				"thresholds": {"window": "1m", "maxThreads": 100, "minSamples": 128, "minDirected": 0.6, "minPairs": 65}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			got, dir, err := load(t, content)
			if err != nil {
				t.Fatal(err)
			}
			builtin := rules.DefaultActions()
			builtin.SwitchAll(false)
			want := Config{
				Rules:        []string{dir + "/rules.d", filepath.Dir(dir) + "/pools.json", "/etc/more"},
				BuiltinRules: builtin,
				Action:       rules.Observe,
				OnBadRules:   StopWithout,
				ScanInterval: 90 * time.Second,
				Listen:       ":9090", ListenTokenFile: dir + "/token",
				LogLevel:    slog.LevelDebug,
				LogEnv:      []string{"BINDER_REF_URL"},
				Annotations: []string{"example.org/team"},
				NodeName:    "n1",
				Containers:  Containers{Sockets: []string{"/run/a.sock"}, NestedSockets: []string{"/run/b/docker.sock"}, CgroupRoot: "/docker/x"},
				Exemptions: exempt.Rules{
					Namespaces: []string{"kube-system"}, PodLabels: []string{"a=b"},
					Cgroups: []string{"/system.slice/kubelet.service"}, Programs: []string{"/usr/sbin/dnsmasq"}, NodeRoot: true,
				},
				KillLimit: killlimit.Limits{Victims: 20, WarmUp: time.Hour, PerMinute: 30, PerContainer: 5, Cooldown: 5 * time.Minute},
				Escalation: escalate.Settings{
					Parent: rules.Observe, ParentKills: 4, Container: rules.Kill, ContainerKills: 7, Within: 2 * time.Minute, Sessions: true,
				},
				Evidence: evidence.Settings{WorkingDirectory: true, Ancestors: true, Times: true, Processes: true, Connections: true, Interval: time.Hour},
				Detectors: map[string]detector.Section{
					"execwhacker": &execwhacker.Settings{},
					"monero": &monero.Settings{
						Enabled: true, Action: rules.Observe, KillWithoutMemoryEvidence: true,
						Thresholds: rounding.Thresholds{Window: time.Minute, MaxThreads: 100, MinSamples: 128, MinDirected: .6, MinPairs: 65},
					},
				},
			}
			if place := got.Place("exemptions.programs[0]"); !regexp.MustCompile(`settings\.yaml:\d+: exemptions\.programs\[0\]$`).MatchString(place) {
				t.Errorf("a program is read at %s", place)
			}
			got.Places = nil
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			if err := got.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestGroupsOfBuiltInRulesAreSwitchedByName(t *testing.T) {
	c, dir, err := load(t, "builtinRules:\n  pools: kill\n  miners: observe\n  flags: false\n  malware: off\n")
	if err != nil {
		t.Fatal(err)
	}
	want := rules.DefaultActions()
	want["pools"], want["miners"], want["flags"], want["malware"] = rules.Kill, rules.Observe, rules.Off, rules.Off
	if !maps.Equal(c.BuiltinRules, want) {
		t.Errorf("got %v", c.BuiltinRules)
	}
	if place := c.Place("builtinRules.miners"); place != dir+"/settings.yaml:3: builtinRules.miners" {
		t.Errorf("a group is read at %s", place)
	}
}

func TestScansCanBeDisabled(t *testing.T) {
	for _, zero := range []string{"0", `"0"`, "0s"} {
		if got, _, err := load(t, "scanInterval: "+zero); err != nil || got.ScanInterval != 0 {
			t.Errorf("%s: got %v and error %v", zero, got.ScanInterval, err)
		}
	}
}

func TestTheErrorForASettingNamesItsPlace(t *testing.T) {
	groups := strings.Join(slices.Sorted(maps.Keys(rules.DefaultActions())), ", ")
	for content, want := range map[string]string{
		"rules: rules.d":                `1: rules: want a list, found a string ("rules.d")`,
		"rules:\n- ''":                  "2: rules[0]: empty string",
		"builtinRules: no":              `1: builtinRules: want true, false, or a map such as {algorithms: kill}`,
		"builtinRules:\n  pool: kill":   `2: builtinRules: unknown key "pool"; known keys: ` + groups,
		"builtinRules:\n  pools: spare": `2: builtinRules.pools: "spare" is not one of kill, observe, off`,
		"action: spare":                 `1: action: "spare" is not one of kill, observe`,
		"scanInterval: 500ms":           "1: scanInterval: 500ms is below 1s; 0 disables scans",
		"scanInterval: -1h":             "1: scanInterval: -1h is not from 0 to 720h",
		"scanInterval: 600":             `1: scanInterval: "600" is not a duration such as 90s, 10m or 1h30m`,
		"listen: 9090":                  "1: listen: want a string, found a number (9090); put it in quotes",
		"listen: localhost":             "1: listen: want HOST:PORT: address localhost: missing port in address",
		"listen: localhost:http":        `1: listen: port "http" is not a number from 0 to 65535`,
		"listen: ':65536'":              `1: listen: port "65536" is not a number from 0 to 65535`,
		"logLevel: verbose":             `1: logLevel: "verbose" is not one of debug, info, warn, error`,
		"logLevel: info+2":              `1: logLevel: "info+2" is not one of debug, info, warn, error`,
		"logLevel: 3":                   "1: logLevel: want a string, found a number (3); put it in quotes",
		"execwhacker: true":             "1: execwhacker: want a map, found a boolean (true)",
		"execwhacker: {action: kill}":   `1: execwhacker: unknown key "action"; known keys: enabled`,
		"monero:\n  action: 1":          "2: monero.action: want a string, found a number (1); put it in quotes",
		"monero:\n  action: Kill":       `2: monero.action: "Kill" is not one of kill, observe`,
		"monero:\n  enabled:":           "2: monero.enabled: want a boolean, found null; write true or false",
		"bannedPrograms: [a]":           `1: unknown key "bannedPrograms"; known keys: action, builtinRules, containers, escalation, evidence, execwhacker, exemptions, killLimit, listen, listenTokenFile, logAnnotations, logEnv, logLevel, monero, nodeName, notices, notify, onBadRules, pins, rules, scanInterval`,
		"logAnnotations: [a/b, 'c d']":  `1: logAnnotations[1]: "c d" is not the name of an annotation`,
		"logAnnotations: [" + strings.Repeat("a,", 17) + "]": `1: logAnnotations: 17 annotations, at most 16 are allowed`,
		"logEnv: ['A=b']":                    `1: logEnv[0]: "A=b" is not the name of an environment variable`,
		"containers: {sockets: [a]}":         `1: containers.sockets[0]: "a" does not begin with /`,
		"exemptions:\n  namespaces: [a, B]":  `2: exemptions.namespaces[1]: "B" is not the name of a Kubernetes namespace`,
		"exemptions: {podLabels: ['=a']}":    `1: exemptions.podLabels[0]: "=a" is not a label: write KEY=VALUE, or KEY for any value`,
		"exemptions: {cgroups: ['/[']}":      `1: exemptions.cgroups[0]: "/[": syntax error in pattern`,
		"exemptions: {programs: [dnsmasq]}":  `1: exemptions.programs[0]: "dnsmasq" is not the absolute path of a program`,
		"killLimit: {victims: 33}":           "1: killLimit.victims: 33 is not from 0 to 32",
		"killLimit: {perMinute: -1}":         "1: killLimit.perMinute: -1 is not from 0 to 1000000",
		"killLimit: {perContainer: 1e9}":     "1: killLimit.perContainer: 1e9 is not a whole number",
		"killLimit: {perContainer: 1000001}": "1: killLimit.perContainer: 1000001 is not from 0 to 1000000",
		"killLimit: {cooldown: 1s}":          "1: killLimit.cooldown: 1s is not from 1m to 720h",
		"brake: {killsPerMinute: 1}":         `1: unknown key "brake"; known keys: action, builtinRules, containers, escalation, evidence, execwhacker, exemptions, killLimit, listen, listenTokenFile, logAnnotations, logEnv, logLevel, monero, nodeName, notices, notify, onBadRules, pins, rules, scanInterval`,
		"containers: {innerSockets: []}":     `1: containers: unknown key "innerSockets"; known keys: cgroupRoot, nestedSockets, sockets`,
		"containers: {cgroupRoot: docker}":   `1: containers.cgroupRoot: "docker" does not begin with /`,
		"pins: bpf":                          `1: pins: "bpf" does not begin with /`,
		"pins: /sys/fs/bpf/a.b":              `1: pins: "/sys/fs/bpf/a.b" is not the path of a directory in a BPF file system: no name there has a dot`,
		"monero: {thresholds: {minJIT: 1}}":  `1: monero.thresholds: unknown key "minJIT"; known keys: maxThreads, minDirected, minPairs, minSamples, window`,
		"monero: {thresholds: {window: 0}}":  "1: monero.thresholds.window: 0 is not from 1s to 24h",
		"action: kill\naction: observe":      `2: duplicate key "action", first on line 1`,
	} {
		got, dir, err := load(t, content)
		if err == nil {
			t.Errorf("%q: accepted as %+v", content, got)
			continue
		}
		if !reflect.DeepEqual(got, Config{}) {
			t.Errorf("%q: got settings and an error: %+v", content, got)
		}
		if text := strings.TrimPrefix(err.Error(), dir+"/settings.yaml:"); text != want {
			t.Errorf("%q: got\n%s\nwant\n%s", content, text, want)
		}
	}
}

func TestValidateNamesTheKeyOfEachInvalidSetting(t *testing.T) {
	c := Config{
		Rules:        []string{"a", ""},
		Action:       "spare",
		ScanInterval: time.Millisecond,
		Listen:       "9090",
		LogLevel:     1,
		Exemptions:   exempt.Rules{Programs: slices.Repeat([]string{"/a"}, 1025)},
		Detectors:    map[string]detector.Section{"monero": &monero.Settings{}},
	}
	const want = `rules[1]: empty string
action: "spare" is not one of kill, observe
onBadRules: "" is not one of kill, observe, stop
scanInterval: 1ms is below 1s; 0 disables scans
listen: want HOST:PORT: address 9090: missing port in address
logLevel: "info+1" is not one of debug, info, warn, error
exemptions.programs: 1025 programs, at most 1024 are allowed
killLimit.cooldown: 0 is not from 1m to 720h
escalation.parent: "" is not one of kill, observe, off
escalation.parentKills: 0 is not from 3 to 100
escalation.container: "" is not one of kill, observe, off
escalation.containerKills: 0 is not from 1 to 100
escalation.within: 0 is not from 1m to 24h
evidence.interval: 0 is not from 1m to 720h
monero.action: "" is not one of kill, observe
monero.thresholds.window: 0 is not from 1s to 24h
monero.thresholds.maxThreads: 0 is not from 1 to 4096
monero.thresholds.minSamples: 0 is not from 1 to 1000000
monero.thresholds.minPairs: 0 is not from 1 to 1000000
no detector is enabled`
	if err := c.Validate(); err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestExecwhackerNeedsRules(t *testing.T) {
	c := Default(detectors.All())
	c.BuiltinRules.SwitchAll(false)
	const want = "rules: no rules are given and the built-in ones are off, so execwhacker cannot detect anything"
	if err := c.Validate(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	c.Detectors[execwhacker.Name] = &execwhacker.Settings{}
	if err := c.Validate(); err != nil {
		t.Errorf("without execwhacker: %v", err)
	}
}

// probe has the settings of a third detector.
type probe struct {
	enabled bool
	depth   int
}

func (p *probe) IsEnabled() bool { return p.enabled }
func (p *probe) Table() setting.Table {
	return setting.Table{
		setting.Bool("enabled", &p.enabled, "Look deeper."),
		setting.Int("depth", &p.depth, 1, 9, "How deep."),
	}
}

func TestOneEntryInTheListAddsTheSettingsOfADetector(t *testing.T) {
	three := append(kinds(), detector.Kind{Name: "probe", Settings: func() detector.Section { return &probe{depth: 3} }})
	file := filepath.Join(t.TempDir(), "settings.yaml")
	load := func(content string) (Config, error) {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return Load(file, three)
	}
	c, err := load("probe: {enabled: true}\nmonero: {enabled: false}\n")
	if p := c.Detectors["probe"]; err != nil || !reflect.DeepEqual(p, &probe{true, 3}) {
		t.Errorf("got %+v, %v", p, err)
	}
	if got := c.Enabled(); !slices.Equal(got, []string{"execwhacker", "probe"}) {
		t.Errorf("enabled %q", got)
	}
	c.Detectors["probe"].(*probe).depth = 10
	if err := c.Validate(); err == nil || err.Error() != "probe.depth: 10 is not from 1 to 9" {
		t.Errorf("got %v", err)
	}
	if _, err = load("probe:\n  depth: 0\n"); err == nil || err.Error() != file+":2: probe.depth: 0 is not from 1 to 9" {
		t.Errorf("got %v", err)
	}
}

func TestTheExamplesInTheDocumentsAreValid(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```(?:yaml|json)\n(.*?)```").FindAllSubmatch(page, -1)
	if len(examples) != 3 {
		t.Fatalf("found %d examples, want the settings and two rule files", len(examples))
	}
	settings := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(settings, examples[0][1], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(settings, detectors.All()); err != nil {
		t.Error(err)
	}
	for _, example := range examples[1:] {
		file := filepath.Join(t.TempDir(), "rules")
		if err := os.WriteFile(file, example[1], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := rules.Load([]string{file}); err != nil {
			t.Error(err)
		}
	}
}
