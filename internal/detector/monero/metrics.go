package monero

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
)

// metrics hold the counters of a detector: the kernel's, which are exact
// whatever becomes of samples, and those of what was decided.
type metrics struct {
	samples, lost            *prometheus.Desc
	kernel                   func() (sampled, lost uint64, err error)
	suspects                 prometheus.Gauge
	killed, observed, spared *prometheus.CounterVec
	exempt, withheld         *prometheus.CounterVec
	missed, unreadable       prometheus.Counter
}

func newMetrics(kernel func() (sampled, lost uint64, err error)) *metrics {
	const prefix = "cryptnono_monero_"
	byRule := func(name, help string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, []string{"rule"})
		for _, r := range []rounding.Rule{rounding.Pattern, rounding.JIT} {
			v.WithLabelValues(r.String())
		}
		return v
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + name, Help: help})
	}
	return &metrics{
		kernel:     kernel,
		samples:    prometheus.NewDesc(prefix+"samples_total", "Samples of threads in a directed rounding mode, or lately in one.", nil, nil),
		lost:       prometheus.NewDesc(prefix+"samples_lost_total", "Samples that found the ring buffer full.", nil, nil),
		suspects:   prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + "suspects", Help: "Processes watched because a thread was in a directed rounding mode."}),
		killed:     byRule("processes_killed_total", "Processes that were killed, by the rule that decided."),
		observed:   byRule("processes_observed_total", "Processes that would have been killed but for the action observe, or lack the memory that corroborates the rule."),
		spared:     byRule("processes_spared_total", "Processes that an allow pattern spared."),
		exempt:     byRule("processes_exempt_total", "Processes that an exemption spared."),
		withheld:   byRule("processes_withheld_total", "Processes that would have been killed but for the brake."),
		missed:     counter("processes_missed_total", "Processes that ended before they could be killed, or that the kernel refused to kill."),
		unreadable: counter("processes_unreadable_total", "Verdicts put off because the process or its container could not be read in time. They are retried."),
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range []prometheus.Collector{m.suspects, m.killed, m.observed, m.spared, m.exempt, m.withheld, m.missed, m.unreadable} {
		c.Collect(ch)
	}
	sampled, lost, err := m.kernel()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(m.samples, err)
		return
	}
	ch <- prometheus.MustNewConstMetric(m.samples, prometheus.CounterValue, float64(sampled))
	ch <- prometheus.MustNewConstMetric(m.lost, prometheus.CounterValue, float64(lost))
}
