package agent

import (
	"errors"
	"time"
)

// A Part is what can be loaded into the kernel on its own.
type Part struct {
	Name string
	// Try loads it for a moment, and returns how long that took and in which way it
	// works, empty if there is one only.
	Try func() (took time.Duration, way string, err error)
}

// A describer is a detector that works in more than one way, and says how on this
// kernel.
type describer interface {
	Describe() (string, error)
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
	for _, s := range sources() {
		parts = append(parts, Part{s.name, func() (time.Duration, string, error) { return a.try(s) }})
	}
	return parts
}

func (a *Agent) try(s source) (took time.Duration, way string, err error) {
	common, err := a.load(a.Log)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, common.close()) }()
	start := time.Now()
	d, err := s.load(common, &a.Policy)
	if err != nil {
		return 0, "", err
	}
	took = time.Since(start)
	if d, ok := d.Detector.(describer); ok {
		way, err = d.Describe()
	}
	return took, way, errors.Join(err, d.Close())
}
