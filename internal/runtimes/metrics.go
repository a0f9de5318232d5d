package runtimes

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cryptnono/cryptnono/internal/container"
)

// metrics count the requests to runtimes.
type metrics struct {
	lookups *prometheus.CounterVec
	seconds prometheus.Histogram
	known   prometheus.GaugeFunc
}

func newMetrics(known func() float64) *metrics {
	m := &metrics{
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cryptnono_container_lookups_total",
			Help: "Requests to container runtimes, by API and result.",
		}, []string{"runtime", "result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "cryptnono_container_lookup_seconds",
			Help:    "Time until a container runtime answered or the request timed out.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 12), // to 1.024
		}),
		known: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "cryptnono_containers_known",
			Help: "Containers whose names are cached.",
		}, known),
	}
	for _, runtime := range []string{"cri", "docker"} {
		for _, result := range []string{"known", "unknown", "timeout", "error"} {
			m.lookups.WithLabelValues(runtime, result)
		}
	}
	return m
}

// observe counts a request, unless it was cancelled.
func (m *metrics) observe(runtime string, err error, took time.Duration) {
	result := "error"
	switch {
	case err == nil:
		result = "known"
	case errors.Is(err, container.ErrUnknown):
		result = "unknown"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, errBackoff):
		result = "timeout"
	case errors.Is(err, context.Canceled):
		return
	}
	m.lookups.WithLabelValues(runtime, result).Inc()
	m.seconds.Observe(took.Seconds())
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range []prometheus.Collector{m.lookups, m.seconds, m.known} {
		c.Collect(ch)
	}
}
