package killlimit

import "github.com/prometheus/client_golang/prometheus"

// Describe implements prometheus.Collector.
func (k *Limiter) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(k, ch) }

// Collect implements prometheus.Collector.
func (k *Limiter) Collect(ch chan<- prometheus.Metric) {
	desc := prometheus.NewDesc("cryptnono_kill_limit_reached",
		"Number of kill limits that are reached: of the node (0 or 1), of containers and of rules.", []string{"scope"}, nil)
	now, err := k.reached()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(desc, err)
		return
	}
	ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(now.node), "node")
	ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(now.containers), "container")
	stopped, err := k.Stopped()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(desc, err)
		return
	}
	ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(len(stopped)), "rule")
}
