package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cryptnono/cryptnono/internal/pin"
)

// pinPatience is for how long an agent waits for another one to end that uses the same pins.
const pinPatience = 30 * time.Second

// openPins opens the directory of pins. If that cannot be, protection is there without it.
func (s *shared) openPins(ctx context.Context, path, version string) {
	if path == "" {
		return
	}
	d, err := pin.Open(ctx, path, version, pinPatience)
	if err != nil {
		s.Log.Error("nothing is pinned: protection ends with this agent", "pins", path, "err", err)
		return
	}
	s.Pins = d
}

// dropPins removes the pins of what this agent does not run: of detectors that are off, of
// versions that are gone, and everything if nothing is to be pinned. What has failed to load
// stays: it protects.
func (s *shared) dropPins(enabled []string) {
	removed, err := s.Pins.Keep(enabled...)
	if s.Pins == nil {
		removed, err = dropAll()
	}
	if err != nil {
		s.Log.Warn("pins of an earlier agent are left, and what they keep in the kernel: cryptnono unpin removes them", "err", err)
	}
	if len(removed) > 0 {
		s.Log.Warn("removed pins of an earlier agent", "pins", removed)
	}
	left, err := pin.Left()
	if err != nil {
		s.Log.Warn("looking for pins of an earlier agent", "err", err)
	}
	for _, l := range left {
		s.Log.Error("pins of an agent that is gone refuse and kill by its rules: cryptnono unpin removes them, and the setting pins has an agent take them over",
			"pins", l.Path, "detectors", l.Units)
	}
}

// dropAll removes the default directory of pins, unless an agent uses it.
func dropAll() (removed []string, err error) {
	d, err := pin.Find(pin.Default)
	if d == nil || err != nil {
		return nil, err //nolint:wrapcheck // it says all
	}
	removed, err = pin.Remove(pin.Default)
	return removed, errors.Join(err, d.Close())
}

// rarely remembers a number for a minute, because looking for it is expensive. It is safe for concurrent use.
type rarely struct {
	look func() int

	mu sync.Mutex
	at time.Time // of the last look
	n  int
}

func (r *rarely) value() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at.IsZero() || time.Since(r.at) >= time.Minute {
		r.n, r.at = r.look(), time.Now()
	}
	return r.n
}

// countLeft returns the number of directories of pins that no agent uses. It walks all BPF file systems.
func countLeft() int {
	left, _ := pin.Left() // what cannot be read is not counted
	return len(left)
}

// pinMetrics are the metrics of pins.
type pinMetrics struct {
	pins      *pin.Dir        // nil if nothing is pinned
	wanted    bool            // by the settings
	detectors func() []string // that are enabled
	left      *rarely         // countLeft
}

// Describe implements prometheus.Collector.
func (m pinMetrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements prometheus.Collector.
func (m pinMetrics) Collect(ch chan<- prometheus.Metric) {
	send := func(name, help string, value float64, detector ...string) {
		var labels []string
		if len(detector) > 0 {
			labels = []string{"detector"}
		}
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("cryptnono_"+name, help, labels, nil), prometheus.GaugeValue, value, detector...)
	}
	is := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	send("pinned", "1 if protection is pinned and outlives the agent, else 0.", is(m.pins != nil))
	send("pins_wanted", "1 if protection is to be pinned by the settings, else 0.", is(m.wanted))
	send("pins_left", "Directories of pins on this node that no agent uses, and that still refuse and kill by the rules of one that is gone.", float64(m.left.value()))
	alone := m.pins.Alone()
	for _, detector := range m.detectors() {
		a := alone[detector]
		send("alone_seconds", "Time before this agent started in which no agent was there, and pins protected.", a.Time.Seconds(), detector)
		send("alone_kills", "Processes that pinned programs killed before this agent started, while none was there.", float64(a.Kills), detector)
		send("alone_events_lost", "Verdicts without a log line, made before this agent started, while none was there.", float64(a.EventsLost), detector)
	}
}
