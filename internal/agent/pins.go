package agent

import (
	"context"
	"errors"
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

// pinned tells whether protection outlives the agent.
func (s *shared) pinned() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "cryptnono_pinned", Help: "1 if protection is pinned and outlives the agent, else 0.",
	}, func() float64 {
		if s.Pins == nil {
			return 0
		}
		return 1
	})
}
