package acceptance

import (
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/cryptnono/cryptnono/test/agenttest"
)

func TestTheMetricsPageIsCompleteFromTheStart(t *testing.T) {
	t.Parallel()
	a := start(t, agenttest.Rules{Strings: []string{agenttest.NewWord()}})
	m := a.Metrics(t)
	for _, series := range []string{
		`processes_allowed_total{allowedby="allowed-pattern",source="exec"}`,
		`processes_allowed_total{allowedby="allowed-pattern",source="scan"}`,
		`processes_allowed_total{allowedby="no-match",source="scan"}`,
		`processes_checked_total{source="scan"}`,
		`processes_observed_total{source="exec"}`,
		`processes_observed_total{source="scan"}`,
		`processes_killed_total{source="exec"}`,
		`processes_killed_total{source="scan"}`,
		`processes_missed_total{source="exec"}`,
		`processes_missed_total{source="scan"}`,
		`processes_unreadable_total{source="exec"}`,
		`processes_unreadable_total{source="scan"}`,
		"execs_not_deferred_total",
		"execs_undecided_total",
		"execs_unjudged_total",
		"events_lost_total",
	} {
		if n, there := m[series]; !there || n != 0 {
			t.Errorf("%s: there is %v, %v", series, there, n)
		}
	}
	// Other programs on the machine are counted here, so the values are not 0.
	for _, series := range []string{
		`processes_allowed_total{allowedby="no-match",source="exec"}`,
		`processes_checked_total{source="exec"}`,
	} {
		if _, there := m[series]; !there {
			t.Errorf("no %s", series)
		}
	}
	if n := m[`cryptnono_build_info{version="dev"}`]; n != 1 {
		t.Errorf("build_info %v", n)
	}
}

func TestTheMetricsPageIsValid(t *testing.T) {
	t.Parallel()
	a := start(t, agenttest.Rules{Strings: []string{agenttest.NewWord()}})
	_, page := get(t, a, "/metrics")
	problems, err := promlint.New(strings.NewReader(page)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestTheProbesAnswer(t *testing.T) {
	t.Parallel()
	a := start(t, agenttest.Rules{Strings: []string{agenttest.NewWord()}})
	for path, want := range map[string]int{"/healthz": http.StatusOK, "/readyz": http.StatusOK, "/debug/pprof/": http.StatusNotFound} {
		if status, _ := get(t, a, path); status != want {
			t.Errorf("%s: status %d, want %d", path, status, want)
		}
	}
}
