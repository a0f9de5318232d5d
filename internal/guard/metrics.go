package guard

import "github.com/prometheus/client_golang/prometheus"

// collector is a guard as the source of its metrics.
type collector struct {
	guard         *Guard
	engaged, lost *prometheus.Desc
}

// Collector returns the guard's metrics.
func (g *Guard) Collector() prometheus.Collector {
	return &collector{
		guard: g,
		engaged: prometheus.NewDesc("cryptnono_brake_engaged",
			"Whether the brake of the node withholds kills, and how many containers' do.", []string{"scope"}, nil),
		lost: prometheus.NewDesc("cryptnono_cgroups_lost_total",
			"New cgroups that the agent was not told of because the ring buffer was full; it asks when they matter.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	now, err := c.guard.brakes()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.engaged, err)
		return
	}
	ch <- prometheus.MustNewConstMetric(c.engaged, prometheus.GaugeValue, float64(now.node), "node")
	ch <- prometheus.MustNewConstMetric(c.engaged, prometheus.GaugeValue, float64(now.containers), "container")
	var lost uint64
	if err := c.guard.objs.LostCgroups.Get(&lost); err != nil {
		ch <- prometheus.NewInvalidMetric(c.lost, err)
		return
	}
	ch <- prometheus.MustNewConstMetric(c.lost, prometheus.CounterValue, float64(lost))
}
