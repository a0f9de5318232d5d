package agent

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/execwhacker"
	"github.com/cryptnono/cryptnono/internal/detector/monero"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// A Source is a detector of the program and how it is loaded.
type Source struct {
	Name    string
	enabled bool
	load    func() (detector.Detector, error)
}

// A describer is a detector that works in more than one way, and says how on this
// kernel.
type describer interface {
	Describe() (string, error)
}

// Try loads the detector for a moment, and returns how long that took and in which
// way it works, empty if there is one only.
func (s Source) Try() (took time.Duration, way string, err error) {
	start := time.Now()
	d, err := s.load()
	if err != nil {
		return 0, "", err
	}
	took = time.Since(start)
	if d, ok := d.(describer); ok {
		way, err = d.Describe()
	}
	return took, way, errors.Join(err, d.Close())
}

// Sources returns all detectors there are.
func (a *Agent) Sources() []Source {
	return []Source{
		{execwhacker.Name, a.Config.Execwhacker.Enabled, func() (detector.Detector, error) {
			return execwhacker.Load(execwhacker.Options{
				Matcher:      a.Matcher,
				ScanInterval: a.Config.ScanInterval,
				Report:       a.Report,
				Log:          a.Log,
			})
		}},
		{monero.Name, a.Config.Monero.Enabled, func() (detector.Detector, error) {
			c := a.Config.Monero
			return monero.Load(monero.Options{
				Kill:               a.Config.Action == rules.Kill && c.Action == rules.Kill,
				KillUncorroborated: c.KillUncorroborated,
				Thresholds:         c.Thresholds,
				Matcher:            a.Matcher,
				Report:             a.Report,
				Log:                a.Log,
			})
		}},
	}
}

func names(detectors map[string]detector.Detector) []string {
	return slices.Sorted(maps.Keys(detectors))
}
