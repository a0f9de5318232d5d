package agent

import (
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
		r.success, r.last, d, d.shared.pinned(), d.shared.Inventory, d.shared.Judge.Limit, d.shared.containers.Collector(),
		bpfstats.Collector{}, d.shared.Judge.Reader.Collector(), d.shared.Judge.Report.Collector(), a.Output.Collector(), d.shared.Health)
	return registry
}
