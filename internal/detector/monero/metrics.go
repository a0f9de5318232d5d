package monero

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// metrics are the metrics of a detector. The counters of samples are read from the kernel
// program, so they also count lost samples.
type metrics struct {
	kernel     func() (sampled, lost uint64, err error)
	suspects   prometheus.Gauge
	tallies    map[rounding.Rule]*verdict.Tally // read only
	unreadable prometheus.Counter
}

func newMetrics(kernel func() (sampled, lost uint64, err error)) *metrics {
	return &metrics{
		kernel:     kernel,
		suspects:   prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + "suspects", Help: "Processes that are tracked because a thread was in a directed rounding mode."}),
		tallies:    map[rounding.Rule]*verdict.Tally{rounding.Pattern: new(verdict.Tally), rounding.JIT: new(verdict.Tally)},
		unreadable: prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + "processes_unreadable_total", Help: "Verdicts that were deferred because the process or its container could not be read in time. They are retried."}),
	}
}

const prefix = "cryptnono_monero_"

// tally returns the counts of a rule.
func (m *metrics) tally(r rounding.Rule) *verdict.Tally { return m.tallies[r] }

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.suspects.Collect(ch)
	m.unreadable.Collect(ch)
	count := func(name, help string, n uint64, rule ...string) {
		var labels []string
		if rule != nil {
			labels = []string{"rule"}
		}
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(prefix+name, help, labels, nil), prometheus.CounterValue, float64(n), rule...)
	}
	var all verdict.Counts
	for rule, t := range m.tallies {
		c := t.Counts()
		all = all.Plus(c)
		count("processes_killed_total", "Processes that were killed, by rule.", c[verdict.Killed], rule.String())
		count("processes_observed_total", "Matches that were not killed because the action is observe or the process has less memory than a miner needs.", c[verdict.Observed], rule.String())
		count("processes_spared_total", "Processes that were not killed because of an allow pattern.", c[verdict.Allowed], rule.String())
		count("processes_exempt_total", "Processes that were not killed because they are exempt.", c[verdict.Exempt], rule.String())
		count("processes_limited_total", "Processes that were not killed because of the kill limit.", c[verdict.Limited], rule.String())
	}
	all.Collect(ch, Name, source)
	count("processes_missed_total", "Processes that ended before the kill, or that the kernel refused to kill.", all[verdict.Missed]+all[verdict.Failed])
	sampled, lost, err := m.kernel()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(prometheus.NewDesc(prefix+"samples_total", "", nil, nil), err)
		return
	}
	count("samples_total", "Samples of threads that are or recently were in a directed rounding mode.", sampled)
	count("samples_lost_total", "Samples that were lost because the ring buffer was full.", lost)
	verdict.CollectLostEvents(ch, Name, lost)
}
