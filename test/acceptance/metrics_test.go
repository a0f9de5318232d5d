package acceptance

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/cryptnono/cryptnono/internal/detectors"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// metricsPage documents every metric. UPDATE=1 writes it.
const metricsPage = "../../docs/metrics.md"

const metricsBegin, metricsEnd = "<!-- begin metrics -->\n", "<!-- end metrics -->\n"

// Every metric of an agent with all detectors is documented, with its labels.
func TestEveryMetricIsDocumented(t *testing.T) {
	settings := make(map[string]any)
	settings["notify"] = map[string]any{"receivers": []any{map[string]any{"name": "none", "url": "http://127.0.0.1:1/", "actions": []string{}}}}
	for _, k := range detectors.All() {
		settings[k.Name] = map[string]any{"enabled": true}
	}
	a := agenttest.Start(t, agenttest.Options{Rules: agenttest.Rules{Strings: []string{agenttest.NewWord()}}, Settings: settings})
	_, page, err := a.Get("/metrics", agenttest.Patience())
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	table.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(families)) {
		if !strings.HasPrefix(name, "cryptnono_") || strings.HasPrefix(name, "cryptnono_bpf_program_") {
			continue // those of programs depend on the machine
		}
		f := families[name]
		labels := make(map[string]bool)
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				labels["`"+l.GetName()+"`"] = true
			}
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", name, strings.ToLower(f.GetType().String()),
			strings.Join(slices.Sorted(maps.Keys(labels)), ", "), f.GetHelp())
	}
	text, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(text), metricsBegin)
	got, tail, ok := strings.Cut(rest, metricsEnd)
	switch {
	case !ok:
		t.Fatalf("%s has no place for the metrics", metricsPage)
	case got == table.String():
	case os.Getenv("UPDATE") == "1":
		if err := os.WriteFile(metricsPage, []byte(head+metricsBegin+table.String()+metricsEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is out of date, write it with UPDATE=1; want\n%s", metricsPage, table.String())
	}
}
