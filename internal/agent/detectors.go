package agent

import (
	"maps"
	"slices"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/execwhacker"
)

// source is a detector of the program and how it is loaded.
type source struct {
	name    string
	enabled bool
	load    func() (detector.Detector, error)
}

// sources are all detectors there are.
func (a *Agent) sources() []source {
	return []source{
		{execwhacker.Name, a.Config.Execwhacker.Enabled, func() (detector.Detector, error) {
			return execwhacker.Load(execwhacker.Options{
				Matcher:      a.Matcher,
				ScanInterval: a.Config.ScanInterval,
				Report:       a.Report,
				Log:          a.Log,
			})
		}},
	}
}

func names(detectors map[string]detector.Detector) []string {
	return slices.Sorted(maps.Keys(detectors))
}
