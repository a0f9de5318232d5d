package hashwork

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cryptnono/cryptnono/internal/verdict"
)

const prefix = "cryptnono_hashwork_"

// metrics are the metrics of a detector. The counters of samples are those of the kernel program,
// so they also count lost samples.
type metrics struct {
	kernel       func() (sampled, lost uint64, err error)
	tallies      map[rule]*verdict.Tally // read only
	learned      *learner
	programs     prometheus.Gauge
	postponed    prometheus.Counter
	examinations prometheus.Histogram
}

func newMetrics(kernel func() (sampled, lost uint64, err error)) *metrics {
	return &metrics{
		kernel:    kernel,
		tallies:   map[rule]*verdict.Tally{programRule: {}, scratchpadRule: {}, unmaskedRule: {}, memoryHardRule: {}},
		programs:  prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + "programs", Help: "Processes that computed recently and are tracked."}),
		postponed: prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + "examinations_postponed_total", Help: "Examinations that were postponed, because the process could not be read in time or too much was to be searched."}),
		examinations: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: prefix + "examination_seconds", Help: "Duration of the examinations of processes.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}),
	}
}

// tally returns the counts of a rule.
func (m *metrics) tally(r rule) *verdict.Tally { return m.tallies[r] }

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.programs.Collect(ch)
	m.postponed.Collect(ch)
	m.examinations.Collect(ch)
	count := func(name, help string, n uint64, labels, values []string) {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(prefix+name, help, labels, nil), prometheus.CounterValue, float64(n), values...)
	}
	var all verdict.Counts
	byRule := func(rule string, c verdict.Counts) {
		count("processes_killed_total", "Processes that were killed, by rule.", c[verdict.Killed], []string{"rule"}, []string{rule})
		count("processes_observed_total", "Processes that matched and were not killed, because the action is observe or the evidence is not certain.", c[verdict.Observed], []string{"rule"}, []string{rule})
	}
	for r, t := range m.tallies {
		c := t.Counts()
		all = all.Plus(c)
		byRule(r.String(), c)
	}
	all.Collect(ch, Name, source)
	execs, lostExecs := m.learned.collect(ch)
	byRule(learnedRule, execs)
	execs.Collect(ch, Name, learnedSource)
	sampled, lost, err := m.kernel()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(prometheus.NewDesc(prefix+"samples_total", "", nil, nil), err)
		return
	}
	count("samples_total", "Samples of threads in user mode.", sampled, nil, nil)
	count("samples_lost_total", "Samples that were lost because the ring buffer was full.", lost, nil, nil)
	verdict.CollectLostEvents(ch, Name, lost+lostExecs)
}
