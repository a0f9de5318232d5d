package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detectors"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/setting"
)

const root = "../../../"

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(root + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheGeneratedFilesAreUpToDate(t *testing.T) {
	for name, generate := range files() {
		old := read(t, name)
		switch now, err := generate(old, detectors.All()); {
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case now != old:
			t.Errorf("%s is out of date: run `make chart-docs`", name)
		}
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

// withProbe returns the list of detectors and one more.
func withProbe() []detector.Kind {
	return append(detectors.All(), detector.Kind{Name: "probe", Settings: func() detector.Section { return &probe{depth: 3} }})
}

func TestOneEntryInTheListAddsTheSettingsOfADetectorToEveryFile(t *testing.T) {
	generated := make(map[string]string)
	for name, generate := range files() {
		text, err := generate(read(t, name), withProbe())
		if err != nil {
			t.Fatal(err)
		}
		if again, err := generate(text, withProbe()); err != nil || again != text {
			t.Errorf("%s: a second run changes it: %v", name, err)
		}
		generated[name] = text
	}

	if page := generated["docs/configuration.md"]; !strings.Contains(page, "\n| `probe.depth` | number, `1` to `9` | `3` | How deep. |\n") {
		t.Errorf("docs/configuration.md has no row of probe.depth:\n%s", page)
	}

	var values struct{ Detectors map[string]map[string]any }
	if err := yaml.Unmarshal([]byte(generated["charts/cryptnono/values.yaml"]), &values); err != nil {
		t.Fatal(err)
	}
	d := values.Detectors
	if d["probe"]["depth"] != 3 || d["probe"]["enabled"] != false || d["execwhacker"]["configs"] == nil || d["monero"]["enabled"] != true {
		t.Errorf("values of the detectors: %v", d)
	}

	type node struct {
		Properties           map[string]node
		Minimum, Maximum     int
		AdditionalProperties any
	}
	var s node
	if err := json.Unmarshal([]byte(generated["charts/cryptnono/values.schema.json"]), &s); err != nil {
		t.Fatal(err)
	}
	p := s.Properties["detectors"].Properties["probe"]
	if depth := p.Properties["depth"]; depth.Minimum != 1 || depth.Maximum != 9 || p.AdditionalProperties != false {
		t.Errorf("schema of the detector: %+v", p)
	}
}

func TestARemovedSettingIsRemovedFromTheFiles(t *testing.T) {
	for name, generate := range files() {
		if name == "charts/cryptnono/values.yaml" {
			continue // keeps the part of each detector between two comments
		}
		now := read(t, name)
		more, err := generate(now, append(detectors.All()[:1], detector.Kind{Name: "monero", Settings: func() detector.Section { return &probe{} }}))
		if err != nil {
			t.Fatal(err)
		}
		switch back, err := generate(more, detectors.All()); {
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case back != now || more == now:
			t.Errorf("%s differs from the original", name)
		}
	}
}

func TestTheGroupsOfBuiltInRulesAreListedWithTheirReasons(t *testing.T) {
	comment := "Observes. Ports of pools, as in\n3333. Others have them too.\n\nWhy it only observes: a web server\nhas a|b. So.\nSource: us.\n"
	off := rules.Group{Name: "ports", Action: rules.Observe, OffByDefault: true, Comment: comment}
	got, err := groups([]rules.Group{off})
	want := "| [`ports`](../internal/rules/builtin/ports.yaml) | `off` | Ports of pools, as in 3333 | A web server has a\\|b. So. |\n"
	if err != nil || got != want {
		t.Errorf("got\n%s, %v, want\n%s", got, err, want)
	}
	for _, comment := range []string{"", "Observes. Ports.\n\nSource: us.\n"} {
		off.Comment = comment
		if got, err := groups([]rules.Group{off}); err == nil {
			t.Errorf("%q: got\n%s", comment, got)
		}
	}
}

func TestAFileWithoutItsMarkersIsAnError(t *testing.T) {
	for name, c := range map[string]struct{ file, from, to string }{
		"no start in the docs":       {"docs/configuration.md", "<!-- The rows", "<!-- Rows"},
		"no groups in the docs":      {"docs/configuration.md", "<!-- The groups", "<!-- Groups"},
		"no end in the docs":         {"docs/configuration.md", "<!-- The end. -->", ""},
		"no general settings":        {"charts/cryptnono/values.yaml", "# Generated from internal/config", "# From internal/config"},
		"no end in the values":       {"charts/cryptnono/values.yaml", "# The end of", "# End of"},
		"no detectors in the values": {"charts/cryptnono/values.yaml", "detectors:", "others:"},
		"no JSON":                    {"charts/cryptnono/values.schema.json", "{", "("},
	} {
		text, err := files()[c.file](strings.ReplaceAll(read(t, c.file), c.from, c.to), withProbe())
		if err == nil {
			t.Errorf("%s: got\n%s", name, text)
		}
	}
}

// Each detector is a folder of its name, whose README leads to a page of the documentation.
func TestEachDetectorIsDocumented(t *testing.T) {
	index := read(t, "docs/README.md")
	seen := make(map[string]bool)
	for _, k := range detectors.All() {
		if seen[k.Name] {
			t.Errorf("two detectors are called %s", k.Name)
		}
		seen[k.Name] = true
		readme := read(t, "internal/detector/"+k.Name+"/README.md")
		page := regexp.MustCompile(`\]\(\.\./\.\./\.\./docs/([a-z]+\.md)`).FindStringSubmatch(readme)
		if page == nil || !strings.Contains(index, "("+page[1]+")") {
			t.Errorf("the README of %s leads to no page that docs/README.md lists", k.Name)
			continue
		}
		if !strings.Contains(read(t, "docs/"+page[1]), "`"+k.Name+"`") {
			t.Errorf("%s does not describe %s", page[1], k.Name)
		}
	}
}
