package agent

import (
	"errors"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector"
)

// A Probe checks that a component of the agent can be loaded into the kernel.
type Probe struct {
	Name string
	// Load loads and unloads the component. It returns how long loading took, and which
	// of its modes the component uses, empty if it has only one.
	Load func() (took time.Duration, mode string, err error)
}

// Probes returns the probes of what all detectors use, and of each detector.
func (a *Agent) Probes() []Probe {
	probes := []Probe{{"exemptions", func() (time.Duration, string, error) {
		start := time.Now()
		s, err := a.load(a.Log)
		if err != nil {
			return 0, "", err
		}
		return time.Since(start), "", s.close()
	}}}
	for _, k := range a.Kinds {
		probes = append(probes, Probe{k.Name, func() (time.Duration, string, error) { return a.probe(k) }})
	}
	return probes
}

func (a *Agent) probe(k detector.Kind) (took time.Duration, mode string, err error) {
	s, err := a.load(a.Log)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	start := time.Now()
	d, err := k.Load(s.Env, a.Policy.forDetector(k))
	if err != nil {
		return 0, "", err
	}
	took = time.Since(start)
	if d, ok := d.(detector.Describer); ok {
		mode, err = d.Describe()
	}
	return took, mode, errors.Join(err, d.Close())
}
