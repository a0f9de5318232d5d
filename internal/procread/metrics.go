package procread

import "github.com/prometheus/client_golang/prometheus"

// collector implements prometheus.Collector for a Reader.
type collector struct {
	reader                         *Reader
	children, leftBehind, timedOut *prometheus.Desc
}

// Collector returns the Reader's metrics.
func (r *Reader) Collector() prometheus.Collector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("cryptnono_"+name, help, nil, nil)
	}
	return &collector{
		reader:   r,
		children: desc("reader_processes", "Child processes of the agent that read other processes."),
		leftBehind: desc("reader_processes_left_behind",
			"Child processes that were killed after a read timed out, but have not ended."),
		timedOut: desc("process_reads_timed_out_total",
			"Reads of a process that timed out."),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.reader.Stats()
	ch <- prometheus.MustNewConstMetric(c.children, prometheus.GaugeValue, float64(s.Children))
	ch <- prometheus.MustNewConstMetric(c.leftBehind, prometheus.GaugeValue, float64(s.LeftBehind))
	ch <- prometheus.MustNewConstMetric(c.timedOut, prometheus.CounterValue, float64(s.TimedOut))
}
