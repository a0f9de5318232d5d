package agent

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/cryptnono/cryptnono/internal/bpfstats"
)

// registry returns all metrics of the agent.
func (a *Agent) registry(d *detectors, r *reloader) *prometheus.Registry {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "cryptnono_build_info",
		Help:        "Always 1; the label has the version of the program.",
		ConstLabels: prometheus.Labels{"version": a.Version},
	})
	info.Set(1)
	registry := prometheus.NewRegistry()
	registry.MustRegister(info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		r, d, pinMetrics{d.shared.Pins, a.Policy.Pins != "", d.wanted, &rarely{look: countLeft}}, d.shared.Inventory, d.shared.Judge.Limit, d.shared.containers.Collector(),
		bpfstats.Collector{}, d.shared.Judge.Reader.Collector(), d.shared.Judge.Report.Collector(), d.shared.Judge.Evidence.Collector(), d.shared.escalator, a.Output.Collector(), a.Notifier, d.shared.Health)
	return registry
}

// state is what a reloader tells to other goroutines. It does not change.
type state struct {
	policy  Policy // in effect
	hash    string // of policy
	refused error  // why the last load was refused, as a whole or in part; nil if it was not
	last    time.Time
}

// Describe implements prometheus.Collector. It sends nothing, because labels change.
func (r *reloader) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (r *reloader) Collect(ch chan<- prometheus.Metric) {
	send := func(name, help string, value float64, labels prometheus.Labels) {
		desc := prometheus.NewDesc("cryptnono_"+name, help, nil, labels)
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
	s := r.state.Load()
	success, last := 0.0, 0.0
	if s.refused == nil {
		success = 1
	}
	if !s.last.IsZero() {
		last = float64(s.last.UnixNano()) / 1e9
	}
	send("config_reload_success", "1 if the last load of settings and rules succeeded, else 0.", success, nil)
	send("config_last_reload_success_timestamp_seconds", "Time of the last successful load of settings and rules; 0 for never.", last, nil)
	send("config_info", "Always 1; the labels have the action in effect, and a hash that is equal where settings and rules are.", 1,
		prometheus.Labels{"action": string(s.policy.Action), "hash": s.hash})
	set := &s.policy.Matcher.Set
	for kind, n := range map[string]int{
		"bans": len(set.Bans), "banned_addresses": len(set.Addresses), "banned_names": len(set.Names), "allow_patterns": len(set.Allowed),
	} {
		send("rules", "Rules in effect, with the built-in ones.", float64(n), prometheus.Labels{"kind": kind})
	}
	send("config_notices", "Notices about the settings in effect, such as values without effect; the log has each.", float64(len(s.policy.Notices)), nil)
	send("rule_files_refused", "Rule files that are not in effect because of a problem.", float64(len(s.policy.Refused)), nil)
}
