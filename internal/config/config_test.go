package config

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/killlimit"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// load loads a settings file of that content, named settings.yaml.
func load(t *testing.T, content string) (Config, string, error) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "settings.yaml")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file)
	return c, dir, err
}

func TestTheDefaultsAreValid(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
}

func TestAnEmptyMapChangesNothing(t *testing.T) {
	if got, _, err := load(t, "{}"); err != nil || !reflect.DeepEqual(got, Default()) {
		t.Errorf("got %+v and error %v", got, err)
	}
}

func TestTheFileIsLaidOverTheDefaults(t *testing.T) {
	for name, content := range map[string]string{
		"YAML": `
rules: [rules.d, ../pools.json, /etc/more]
builtinRules: false
action: observe
scanInterval: 1m30s
listen: ":9090"
logLevel: debug
logEnv: [BINDER_REF_URL]
nodeName: n1
containers: {sockets: [/run/a.sock], innerSockets: [/run/b/docker.sock], cgroupBase: /docker/x}
exemptions: {namespaces: [kube-system], podLabels: [a=b], cgroups: [/system.slice/kubelet.service], programs: [/usr/sbin/dnsmasq]}
brake: {killsPerMinute: 30, containerKillsPerMinute: 5, quietPeriod: 5m}
execwhacker: {enabled: false}
monero:
  action: observe
`,
		"JSON": `{"rules": ["rules.d", "../pools.json", "/etc/more"], "builtinRules": false, "action": "observe",
			"scanInterval": "1m30s", "listen": ":9090", "logLevel": "debug", "logEnv": ["BINDER_REF_URL"], "nodeName": "n1",
			"containers": {"sockets": ["/run/a.sock"], "innerSockets": ["/run/b/docker.sock"], "cgroupBase": "/docker/x"},
			"exemptions": {"namespaces": ["kube-system"], "podLabels": ["a=b"], "cgroups": ["/system.slice/kubelet.service"], "programs": ["/usr/sbin/dnsmasq"]},
			"brake": {"killsPerMinute": 30, "containerKillsPerMinute": 5, "quietPeriod": "5m"},
			"execwhacker": {"enabled": false}, "monero": {"action": "observe"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			got, dir, err := load(t, content)
			if err != nil {
				t.Fatal(err)
			}
			want := Config{
				Rules:        []string{dir + "/rules.d", filepath.Dir(dir) + "/pools.json", "/etc/more"},
				Action:       rules.Observe,
				ScanInterval: 90 * time.Second,
				Listen:       ":9090",
				LogLevel:     slog.LevelDebug,
				LogEnv:       []string{"BINDER_REF_URL"},
				NodeName:     "n1",
				Containers:   Containers{Sockets: []string{"/run/a.sock"}, InnerSockets: []string{"/run/b/docker.sock"}, CgroupBase: "/docker/x"},
				Exemptions: exempt.Rules{
					Namespaces: []string{"kube-system"}, PodLabels: []string{"a=b"},
					Cgroups: []string{"/system.slice/kubelet.service"}, Programs: []string{"/usr/sbin/dnsmasq"},
				},
				KillLimit: killlimit.Limits{PerMinute: 30, PerContainer: 5, Cooldown: 5 * time.Minute},
				Monero:    Monero{Enabled: true, Action: rules.Observe, Thresholds: rounding.Defaults()},
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

func TestTheScanCanBeTurnedOff(t *testing.T) {
	for _, zero := range []string{"0", `"0"`, "0s"} {
		if got, _, err := load(t, "scanInterval: "+zero); err != nil || got.ScanInterval != 0 {
			t.Errorf("%s: got %v and error %v", zero, got.ScanInterval, err)
		}
	}
}

func TestAWrongSettingIsNamedWithItsPlace(t *testing.T) {
	for content, want := range map[string]string{
		"rules: rules.d":                    `1: rules: want a list, found a string ("rules.d")`,
		"rules:\n- ''":                      "2: rules[0]: empty string",
		"builtinRules: no":                  `1: builtinRules: want a boolean, found a string ("no"); write true or false`,
		"action: spare":                     `1: action: "spare" is neither "kill" nor "observe"`,
		"scanInterval: 500ms":               "1: scanInterval: 500ms is below 1s; 0 turns the scan off",
		"scanInterval: -1h":                 "1: scanInterval: -1h0m0s is below 1s; 0 turns the scan off",
		"scanInterval: 600":                 `1: scanInterval: "600" is not a duration such as 90s, 10m or 1h30m`,
		"listen: 9090":                      "1: listen: want a string, found a number (9090); put it in quotes",
		"listen: localhost":                 "1: listen: want HOST:PORT: address localhost: missing port in address",
		"listen: localhost:http":            `1: listen: port "http" is not a number from 0 to 65535`,
		"listen: ':65536'":                  `1: listen: port "65536" is not a number from 0 to 65535`,
		"logLevel: verbose":                 `1: logLevel: "verbose" is not one of debug, info, warn and error`,
		"logLevel: info+2":                  "1: logLevel: INFO+2 is not one of debug, info, warn and error",
		"logLevel: 3":                       "1: logLevel: want a string, found a number (3); put it in quotes",
		"execwhacker: true":                 "1: execwhacker: want a map, found a boolean (true)",
		"execwhacker: {action: kill}":       `1: execwhacker: unknown key "action"; known here: enabled`,
		"monero:\n  action: 1":              "2: monero.action: want a string, found a number (1); put it in quotes",
		"monero:\n  action: Kill":           `2: monero.action: "Kill" is neither "kill" nor "observe"`,
		"monero:\n  enabled:":               "2: monero.enabled: want a boolean, found null; write true or false",
		"bannedPrograms: [a]":               `1: unknown key "bannedPrograms"; known here: action, brake, builtinRules, containers, execwhacker, exemptions, listen, logEnv, logLevel, monero, nodeName, rules, scanInterval`,
		"logEnv: ['A=b']":                   `1: logEnv[0]: "A=b" is not the name of a variable`,
		"containers: {sockets: [a]}":        `1: containers.sockets[0]: "a" does not begin with /`,
		"exemptions:\n  namespaces: [a, B]": `2: exemptions.namespaces[1]: "B" is not the name of a Kubernetes namespace`,
		"exemptions: {podLabels: ['=a']}":   `1: exemptions.podLabels[0]: "=a" is not a label: write KEY=VALUE, or KEY for any value`,
		"exemptions: {cgroups: ['/[']}":     `1: exemptions.cgroups[0]: "/[": syntax error in pattern`,
		"exemptions: {programs: [dnsmasq]}": `1: exemptions.programs[0]: "dnsmasq" is not the absolute path of a program`,
		"brake: {killsPerMinute: -1}":       "1: brake.killsPerMinute: -1 is not from 0, for no limit, to 1000000",
		"brake: {quietPeriod: 1s}":          "1: brake.quietPeriod: 1s is not from 1m0s to 720h",
		"action: kill\naction: observe":     `2: key "action" was given on line 1 already`,
	} {
		got, dir, err := load(t, content)
		if err == nil {
			t.Errorf("%q: accepted as %+v", content, got)
			continue
		}
		if !reflect.DeepEqual(got, Config{}) {
			t.Errorf("%q: got settings besides the error: %+v", content, got)
		}
		if text := strings.TrimPrefix(err.Error(), dir+"/settings.yaml:"); text != want {
			t.Errorf("%q: got\n%s\nwant\n%s", content, text, want)
		}
	}
}

func TestValidateNamesTheKeyOfEachWrongSetting(t *testing.T) {
	c := Config{
		Rules:        []string{"a", ""},
		Action:       "spare",
		ScanInterval: time.Millisecond,
		Listen:       "9090",
		LogLevel:     1,
	}
	const want = `rules[1]: empty string
action: "spare" is neither "kill" nor "observe"
scanInterval: 1ms is below 1s; 0 turns the scan off
listen: want HOST:PORT: address 9090: missing port in address
logLevel: INFO+1 is not one of debug, info, warn and error
brake.quietPeriod: 0s is not from 1m0s to 720h
monero.action: "" is neither "kill" nor "observe"
monero.thresholds: Window is 0s, not from 1s to 24h
no detector is enabled`
	if err := c.Validate(); err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestExecwhackerNeedsRules(t *testing.T) {
	c := Default()
	c.BuiltinRules = false
	const want = "rules: none are given and builtinRules is false, so execwhacker could find nothing"
	if err := c.Validate(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	c.Execwhacker.Enabled = false
	if err := c.Validate(); err != nil {
		t.Errorf("without execwhacker: %v", err)
	}
}

func TestTheExamplesInTheDocsAreValid(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```(?:yaml|json)\n(.*?)```").FindAllSubmatch(page, -1)
	if len(examples) != 3 {
		t.Fatalf("found %d examples, want the settings and two rule files", len(examples))
	}
	if _, _, err := load(t, string(examples[0][1])); err != nil {
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
