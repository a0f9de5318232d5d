package inventory

import "github.com/prometheus/client_golang/prometheus"

// Describe implements prometheus.Collector.
func (i *Inventory) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(i, ch) }

// Collect implements prometheus.Collector.
func (i *Inventory) Collect(ch chan<- prometheus.Metric) {
	desc := prometheus.NewDesc("cryptnono_cgroups_lost_total",
		"New cgroups that were not reported because the ring buffer was full. The agent looks one up when a banned program starts in it.", nil, nil)
	n, err := i.Lost()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(desc, err)
		return
	}
	ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n))
}
