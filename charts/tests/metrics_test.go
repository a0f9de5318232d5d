package chart

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

func TestMain(m *testing.M) { os.Exit(agenttest.Main(m)) }

// An alertFile is a Prometheus rule file.
type alertFile struct {
	Groups []struct {
		Rules []alert
	}
}

type alert struct {
	Alert       string
	Expr        string
	For         string
	Labels      map[string]string
	Annotations map[string]string
}

func alerts(t *testing.T) []alert {
	t.Helper()
	var f alertFile
	if err := yaml.Unmarshal([]byte(read(t, chartDir+"/alerts/cryptnono.yaml")), &f); err != nil {
		t.Fatal(err)
	}
	return f.Groups[0].Rules
}

func TestTheTableOfAlertsInTheDocsIsComplete(t *testing.T) {
	var table strings.Builder
	for _, a := range alerts(t) {
		after := a.For
		if after == "" {
			after = "immediately"
		}
		fmt.Fprintf(&table, "| [%s](#%s) | %s | %s |\n", a.Alert, strings.ToLower(a.Alert), a.Labels["severity"], after)
	}
	if !strings.Contains(read(t, "../../docs/troubleshooting.md"), "|---|---|---|\n"+table.String()+"\n") {
		t.Errorf("docs/troubleshooting.md lacks the table\n%s", table.String())
	}
}

// panelQueries returns the queries of the dashboard by the panel's title.
func panelQueries(t *testing.T) map[string][]string {
	t.Helper()
	dashboard := readDashboard(t)
	queries := make(map[string][]string)
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			queries[p.Title] = append(queries[p.Title], target.Expr)
		}
	}
	values := regexp.MustCompile(`^label_values\((\w+), \w+\)$`)
	for _, v := range dashboard.Templating.List {
		if m := values.FindStringSubmatch(v.Definition); m != nil {
			queries["variable "+v.Name] = []string{m[1]}
		} else if v.Type == "query" {
			t.Errorf("variable %s asks %q", v.Name, v.Definition)
		}
	}
	return queries
}

// grafana replaces Grafana's variables by example values.
var grafana = strings.NewReplacer("$__range", "24h", "$__rate_interval", "1m", "$__interval", "1m", "$node", ".*")

// selected returns the selectors of a query, which must be valid.
func selected(t *testing.T, query string) []*parser.VectorSelector {
	t.Helper()
	expr, err := parser.ParseExpr(grafana.Replace(query))
	if err != nil {
		t.Errorf("%s: %v", query, err)
		return nil
	}
	var found []*parser.VectorSelector
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			found = append(found, s)
		}
		return nil
	})
	return found
}

// page returns the metrics page of an agent that runs with all its detectors,
// as series without their values.
func page(t *testing.T) []labels.Labels {
	t.Helper()
	testutil.Privileged(t)
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME)) // some metrics are there only then
	if err != nil {
		t.Fatal(err)
	}
	defer stats.Close()
	a := agenttest.Start(t, agenttest.Options{
		Rules: agenttest.Rules{Strings: []string{agenttest.NewWord()}},
		Settings: map[string]any{
			"notify": map[string]any{"receivers": []any{map[string]any{"name": "none", "url": "http://127.0.0.1:1/", "actions": []string{}}}},
			"monero": map[string]any{"enabled": true}, "tcpflowkiller": map[string]any{"enabled": true, "action": "observe"}, "hashwork": map[string]any{"enabled": true},
		},
		Flags: []string{"--action", "observe"},
	})
	if err := exec.Command("/bin/true").Run(); err != nil {
		t.Fatal(err)
	}
	_, text, err := a.Get("/metrics", agenttest.Patience())
	if err != nil {
		t.Fatal(err)
	}
	var series []labels.Labels
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, "#") {
			continue
		}
		s, err := parser.ParseMetric(l[:strings.LastIndexByte(l, ' ')])
		if err != nil {
			t.Fatal(err)
		}
		series = append(series, s)
	}
	return series
}

// Labels that Prometheus adds to each series of a target.
var ofTarget = []string{"job", "instance", "namespace", "pod", "node"}

// documented returns the metrics that the pages of docs name, by page. The first column
// of migrating.md has those of the Python program.
func documented(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no docs: %v", err)
	}
	metric := regexp.MustCompile(`\bcryptnono_[a-z_]*_(total|seconds|success|reached|known|info|refused|suspects|up|unsupported|overdue|bytes|behind)\b`)
	names := make(map[string][]string)
	for _, file := range files {
		for line := range strings.Lines(read(t, file)) {
			if old, now, ok := strings.Cut(strings.TrimPrefix(line, "|"), "|"); ok && old != "" && filepath.Base(file) == "migrating.md" {
				line = now
			}
			names[file] = append(names[file], metric.FindAllString(line, -1)...)
		}
	}
	return names
}

func TestQueriesAndDocsNameMetricsThatTheAgentHas(t *testing.T) {
	series := page(t)
	check := func(where, query string) {
		for _, s := range selected(t, query) {
			// up is made by Prometheus, and those of objects by kube-state-metrics.
			if s.Name == "up" || s.Name == "kube_daemonset_status_number_unavailable" {
				continue
			}
			asked := slices.DeleteFunc(slices.Clone(s.LabelMatchers), func(m *labels.Matcher) bool {
				return slices.Contains(ofTarget, m.Name)
			})
			if !slices.ContainsFunc(series, func(l labels.Labels) bool { return labels.Selector(asked).Matches(l) }) {
				t.Errorf("%s: no agent has %s", where, s)
			}
		}
	}
	for _, a := range alerts(t) {
		check("alert "+a.Alert, a.Expr)
	}
	for title, queries := range panelQueries(t) {
		for _, q := range queries {
			check("panel "+title, q)
		}
	}
	for file, names := range documented(t) {
		for _, name := range names {
			if !slices.ContainsFunc(series, func(l labels.Labels) bool {
				its := l.Get("__name__")
				return its == name || its == name+"_count" // of a histogram
			}) {
				t.Errorf("%s: no agent has %s", file, name)
			}
		}
	}
}
