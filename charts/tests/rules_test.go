package chart

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/config"
	"github.com/cryptnono/cryptnono/internal/detectors"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// layOut writes the files of the rendered ConfigMaps to the paths of the agent, below a
// directory that stands for /, and returns that directory.
func layOut(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	all := objects(t, files)
	volumes := make(map[any]values)
	for _, v := range pod(t, files)["volumes"].([]any) {
		volumes[at(v, "name")] = v.(values)
	}
	for _, m := range container(t, files)["volumeMounts"].([]any) {
		if at(m, "subPath") != nil {
			t.Errorf("%v is mounted by subPath, so changes of it never arrive", m)
		}
		dir := filepath.Join(root, text(t, m, "mountPath"))
		if err := os.MkdirAll(dir, 0o750); err != nil {
			t.Fatal(err)
		}
		sources, _ := at(volumes[at(m, "name")], "projected", "sources").([]any)
		for _, source := range append(sources, volumes[at(m, "name")]) {
			name, _ := at(source, "configMap", "name").(string)
			data, _ := at(all["ConfigMap "+name], "data").(values)
			for file, content := range data {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(content.(string)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return root
}

// agentReads has the agent's own code read the settings and rules of rendered
// files.
func agentReads(t *testing.T, files map[string]string) (config.Config, rules.Set) {
	t.Helper()
	root := layOut(t, files)
	file := filepath.Join(root, "etc/cryptnono/settings/settings.json")
	c, err := config.Load(file, detectors.All())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, path := range c.Rules {
		// These are not part of the chart.
		if strings.Contains(path, "/configmaps/") || strings.Contains(path, "/secrets/") {
			continue
		}
		paths = append(paths, filepath.Join(root, path))
	}
	set, err := rules.Load(paths)
	if err != nil {
		t.Fatal(err)
	}
	return c, set
}

func TestTheAgentReadsRulesFromValues(t *testing.T) {
	_, set := agentReads(t, render(t, `
detectors:
  execwhacker:
    configs:
      mysite:
        bannedCommandStrings: [pool.example, "1234", 'quote " and \ back']
        bannedCommandSubstrings: ["<html>&"]
        bannedPrograms: [miner]
        allowedCommandPatterns: ['(/usr)?/bin/dnsmasq\s.*']
      Trial_1: {action: observe, bannedCommandStrings: [maybe.example]}
      empty: {}
`))
	got := make(map[string]rules.Action)
	for _, b := range set.Bans {
		got[b.Text] = b.Action
	}
	want := map[string]rules.Action{
		"pool.example": rules.Kill, "1234": rules.Kill, `quote " and \ back`: rules.Kill, "<html>&": rules.Kill,
		"miner": rules.Kill, "maybe.example": rules.Observe,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if len(set.Allowed) != 1 || set.Allowed[0].Expr != `(/usr)?/bin/dnsmasq\s.*` {
		t.Errorf("allow patterns %v", set.Allowed)
	}
}

func TestConfigMapsAndSecretsAreMountedAsDirectories(t *testing.T) {
	files := render(t, `
detectors: {execwhacker: {configMaps: [pools, more.pools], secrets: [pools]}}
`)
	got := make(map[any]any)
	for _, v := range pod(t, files)["volumes"].([]any) {
		got[at(v, "name")] = v
	}
	for _, m := range container(t, files)["volumeMounts"].([]any) {
		if at(m, "name") == "run" { // of the agent's socket
			continue
		}
		if got[at(m, "name")] == nil || at(m, "readOnly") != true {
			t.Errorf("mount %v of volume %v", m, got[at(m, "name")])
		}
	}
	if name := at(got["configmap-pools"], "configMap", "name"); name != "pools" {
		t.Errorf("volume configmap-pools is %v", got["configmap-pools"])
	}
	if name := at(got["secret-pools"], "secret", "secretName"); name != "pools" {
		t.Errorf("volume secret-pools is %v", got["secret-pools"])
	}
	want := []any{
		"/etc/cryptnono/rules/configmaps/pools", "/etc/cryptnono/rules/configmaps/more.pools", "/etc/cryptnono/rules/secrets/pools",
	}
	if got := settings(t, files)["rules"]; !reflect.DeepEqual(got, want) {
		t.Errorf("rules %v", got)
	}
}

func TestRulesOfSeveralNamesCanHaveMoreThanOneMebibyte(t *testing.T) {
	const limit = 1 << 20 // of a ConfigMap
	configs := values{}
	total := 0
	for i := range 4 {
		var list []any
		for j := range 20_000 {
			list = append(list, fmt.Sprintf("pool-%d-%05d.example", i, j))
		}
		configs[fmt.Sprintf("part%d", i)] = values{"bannedCommandStrings": list}
	}
	files, err := renderTo(t, target{}, values{"detectors": values{"execwhacker": values{"configs": configs}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range objects(t, files) {
		size := 0
		data, _ := o["data"].(values)
		for _, v := range data {
			size += len(v.(string))
		}
		if total += size; size > limit {
			t.Errorf("%s has %d bytes", name, size)
		}
	}
	if total <= limit {
		t.Errorf("only %d bytes together", total)
	}
	if _, set := agentReads(t, files); len(set.Bans) != 80_000 {
		t.Errorf("%d bans", len(set.Bans))
	}
}

func TestTheCommandLineHasNoRules(t *testing.T) {
	c := container(t, render(t, `
detectors: {execwhacker: {configs: {mysite: {bannedCommandStrings: [pool.example]}}}}
`))
	want := []any{"supervise", "run", "--config", "/etc/cryptnono/settings/settings.json"}
	if got := c["args"]; !reflect.DeepEqual(got, want) || c["command"] != nil {
		t.Errorf("command %v, args %v", c["command"], got)
	}
}

func TestWithoutBuiltInRulesTheSelfTestIsStillThere(t *testing.T) {
	for text, bans := range map[string]int{"false": 2, "{selftest: off}": 2, "{selftest: observe}": 1, "{pools: off}": 1, "true": 1} {
		_, set := agentReads(t, render(t, "builtinRules: "+text+`
detectors: {execwhacker: {configs: {mysite: {bannedCommandStrings: [pool.example]}}}}
`))
		if len(set.Bans) != bans {
			t.Errorf("%s: bans %v", text, set.Bans)
		}
	}
}

func TestTheSchemaHasEachKeyOfARuleFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(file, []byte("none: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := rules.Load([]string{file})
	_, known, ok := strings.Cut(fmt.Sprint(err), "known keys: ")
	if !ok {
		t.Fatal(err)
	}
	schema := parse(t, string(load(t).Schema))
	properties := schema["definitions"].(values)["rules"].(values)["properties"].(values)
	if got := strings.Join(slices.Sorted(maps.Keys(properties)), ", "); got != known {
		t.Errorf("the schema has %s, a rule file %s", got, known)
	}
	_, set := agentReads(t, render(t, `
detectors:
  execwhacker:
    configs:
      all:
        commandParts: {relay: ['relay\.example:443']}
        bannedCommandPatterns: ['--pool ${relay}']
        bannedCommandCombinations: [['--algo ', '${relay}']]
        spareShells: true
        spareNodeRoot: true
        environment: observe
`))
	if len(set.Bans) != 2 || set.Bans[0].Environment != rules.Observe || set.Bans[0].Spares != rules.Shells|rules.NodeRoot {
		t.Errorf("got %+v", set.Bans)
	}
}

// What the chart refuses, the agent would have refused as well, and the other way round: a Helm
// upgrade must not bring a file that leaves its rules out.
func TestInlineRulesAreCheckedWhenTheChartIsRendered(t *testing.T) {
	for text, refused := range map[string]bool{
		`{allowedCommandPatterns: ['/bin/grep .*', '(?i)^/bin/(a|b)\s.*', '\Qa|b']}`:                  false,
		`{allowedCommandPatterns: ['(?=x)']}`:                                                         true,
		`{allowedCommandPatterns: ['a)|(b']}`:                                                         true,
		`{allowedCommandPatterns: ["/bin/a\n"]}`:                                                      true,
		`{allowedCommandPatterns: ['*']}`:                                                             true,
		`{bannedCommandPatterns: ['--pool [a-z]{40}']}`:                                               false,
		`{bannedCommandPatterns: ['--pool (']}`:                                                       true,
		`{bannedCommandPatterns: [' ']}`:                                                              true,
		`{bannedCommandCombinations: [['--pool ', '--wallet ']]}`:                                     false,
		`{bannedCommandCombinations: [['--pool ', '[']]}`:                                             true,
		`{commandParts: {a: ['x[0-9]+']}, bannedCommandPatterns: ['--pool ${a}+']}`:                   false,
		`{commandParts: {a: ['x[0-9+']}, bannedCommandPatterns: ['--pool ${a}']}`:                     true,
		`{bannedPrograms: ['miner-*', 'min er']}`:                                                     false,
		`{bannedPrograms: ['*miner']}`:                                                                true,
		`{bannedPrograms: ['mi*ner']}`:                                                                true,
		`{bannedPrograms: ['bin/miner']}`:                                                             true,
		`{bannedPrograms: ['']}`:                                                                      true,
		`{bannedCommandStrings: ['']}`:                                                                true,
		`{bannedAddresses: ['192.0.2.1', '192.0.2.0/24:3333', '2001:db8::1', '[2001:db8::/32]:443']}`: false,
		`{bannedAddresses: ['pool.example']}`:                                                         true,
		`{bannedNames: ['pool.example', 'a.pool.example. kill', 'b.example refuse']}`:                 false,
		`{bannedNames: ['pool']}`:                                                                     true,
		`{bannedNames: ['pool.example observe']}`:                                                     true,
		`{action: destroy}`:                                                                           true,
		`{none: 1}`:                                                                                   true,
	} {
		_, err := renderTo(t, target{}, parse(t, "detectors: {execwhacker: {configs: {mysite: "+text+"}}}"))
		if (err != nil) != refused {
			t.Errorf("%s: the chart: %v", text, err)
		}
		if err != nil && !strings.Contains(err.Error(), "mysite") {
			t.Errorf("%s: the error does not name the rules: %v", text, err)
		}
		content, err := json.Marshal(parse(t, text))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "a.json")
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := rules.Load([]string{file}); (err != nil) != refused {
			t.Errorf("%s: the agent: %v", text, err)
		}
	}
}

func TestNamedRulesAreCheckedByAJobOnRequest(t *testing.T) {
	const rules = "detectors: {execwhacker: {configMaps: [pools], secrets: [more]}}\n"
	for _, text := range []string{rules, "checkRules: {enabled: true}"} {
		if job := objects(t, render(t, text))["Job cryptnono-check-rules"]; job != nil {
			t.Errorf("%s: a Job", text)
		}
	}
	job := objects(t, render(t, "checkRules: {enabled: true}\n"+rules))["Job cryptnono-check-rules"]
	want := []any{"check", "--rules=/rules/configmaps/pools", "--rules=/rules/secrets/more"}
	spec := at(job, "spec", "template", "spec")
	if got := at(spec, "containers", 0, "args"); !reflect.DeepEqual(got, want) {
		t.Errorf("args %v", got)
	}
	if cpu := at(spec, "containers", 0, "resources", "requests", "cpu"); cpu != nil {
		t.Errorf("an upgrade waits for a node with a CPU request of %v left", cpu)
	}
	mounts := make(map[any]any)
	for _, m := range at(spec, "containers", 0, "volumeMounts").([]any) {
		mounts[at(m, "name")] = at(m, "mountPath")
	}
	if !reflect.DeepEqual(mounts, map[any]any{"configmap-pools": "/rules/configmaps/pools", "secret-more": "/rules/secrets/more"}) {
		t.Errorf("mounts %v", mounts)
	}
	if hook := at(job, "metadata", "annotations", "helm.sh/hook"); hook != "pre-install,pre-upgrade" {
		t.Errorf("hook %v", hook)
	}
}
