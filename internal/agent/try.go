package agent

import (
	"errors"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector"
)

// A Part is what can be loaded into the kernel on its own.
type Part struct {
	Name string
	// Try loads it for a moment, and returns how long that took and in which way it
	// works, empty if there is one only.
	Try func() (took time.Duration, way string, err error)
}

// Parts returns what all detectors share, and all detectors.
func (a *Agent) Parts() []Part {
	parts := []Part{{"exemptions", func() (time.Duration, string, error) {
		start := time.Now()
		s, err := a.load(a.Log)
		if err != nil {
			return 0, "", err
		}
		return time.Since(start), "", s.close()
	}}}
	for _, k := range a.Kinds {
		parts = append(parts, Part{k.Name, func() (time.Duration, string, error) { return a.try(k) }})
	}
	return parts
}

func (a *Agent) try(k detector.Kind) (took time.Duration, way string, err error) {
	common, err := a.load(a.Log)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, common.close()) }()
	start := time.Now()
	d, err := k.Load(common.Env, a.Policy.of(k))
	if err != nil {
		return 0, "", err
	}
	took = time.Since(start)
	if d, ok := d.(detector.Describer); ok {
		way, err = d.Describe()
	}
	return took, way, errors.Join(err, d.Close())
}
