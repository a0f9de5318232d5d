package chart

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// rateInterval is Grafana's $__rate_interval for the shortest step of a panel and the
// minimum step of a query, as its documentation defines it. Without the latter, Grafana
// takes the interval of its data source, which is 15s unless it was set.
func rateInterval(t *testing.T, minStep string) (window, step time.Duration) {
	t.Helper()
	scrape := 15 * time.Second
	if minStep != "" {
		var err error
		if scrape, err = time.ParseDuration(minStep); err != nil {
			t.Fatal(err)
		}
	}
	return 4 * scrape, scrape
}

// Prometheus scrapes once a minute by default. Each rate must then have two samples in its
// window at each step of a panel, however short the time that the panel shows.
func TestThePanelsHaveAValueAtEachStepAtAnyScrapeInterval(t *testing.T) {
	var tests, series strings.Builder
	checks, known := 0, make(map[string]bool)
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			if strings.Contains(target.Expr, "$__interval") {
				t.Errorf("%s: a window of one step can have one sample, or none", p.Title)
			}
			if !strings.Contains(target.Expr, "$__rate_interval") {
				continue
			}
			for _, s := range selected(t, target.Expr) {
				for _, action := range []string{"killed", "exempt"} {
					if name := fmt.Sprintf(`%s{node="n", job="j", instance="i", source="exec", le="+Inf", action=%q}`, s.Name, action); !known[name] {
						known[name] = true
						fmt.Fprintf(&series, "  - {series: '%s', values: 0+1x720}\n", name)
					}
				}
			}
			checks++
			window, step := rateInterval(t, target.Interval)
			query := strings.NewReplacer("$__rate_interval", window.String(), "$node", ".*").Replace(target.Expr)
			fmt.Fprintf(&tests, "  - expr: 'max(count_over_time((%s)[20m:%v])) >= bool %d'\n    eval_time: 50m\n    exp_samples: [{value: 1, labels: '{}'}]\n",
				query, step, 20*time.Minute/step)
		}
	}
	if checks < 15 {
		t.Errorf("only %d queries of rates", checks)
	}
	file := filepath.Join(t.TempDir(), "panels.yaml")
	var all strings.Builder
	all.WriteString("tests:\n")
	for _, scrape := range []string{"5s", "15s", "30s", "1m", "2m"} {
		fmt.Fprintf(&all, "- interval: %s\n  input_series:\n%s  promql_expr_test:\n%s", scrape, series.String(), tests.String())
	}
	if err := os.WriteFile(file, []byte(all.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "test", "rules", file)
}
