package agent

import (
	"errors"
	"log/slog"
	"slices"

	"github.com/cryptnono/cryptnono/internal/config"
	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/sanity"
)

// A Policy is the settings and the compiled rules.
type Policy struct {
	config.Config
	Matcher *match.Matcher
	// Warnings are about unsafe settings and rules.
	Warnings []sanity.Warning
	// version is that of the files from which the policy was read; 0 if they changed
	// meanwhile.
	version filesVersion
}

// Read calls load, which reads these settings files, and compiles the rules.
func Read(files []string, load func() (config.Config, error)) (Policy, error) {
	before := versionOf(files)
	c, err := load()
	if err != nil {
		return Policy{}, err
	}
	version := versionOf(slices.Concat(files, c.Rules))
	p, err := Compile(c)
	if versionOf(files) == before {
		p.version = version
	}
	return p, err
}

// Compile reads and compiles the rules of a configuration. Settings and rules that
// package sanity refuses are an error.
func Compile(c config.Config) (Policy, error) {
	set, err := rules.Load(c.Rules)
	if err != nil {
		return Policy{}, err
	}
	b := c.BuiltinRules.Rules()
	set.Bans = append(b.Bans, set.Bans...)
	set.Allowed = append(b.Allowed, set.Allowed...)
	if c.Action == rules.Observe {
		for i := range set.Bans {
			set.Bans[i].Action = rules.Observe
		}
		for i := range set.Addresses {
			set.Addresses[i].Action = rules.Observe
		}
		for i := range set.Names {
			set.Names[i].Action = rules.Observe
		}
	}
	m, err := match.Compile(set)
	if err != nil {
		return Policy{}, err
	}
	warnings, err := sanity.Check(c, m)
	return Policy{Config: c, Matcher: m, Warnings: warnings}, err
}

// forDetector returns a detector's part of the policy.
func (p *Policy) forDetector(k detector.Kind) detector.Policy {
	return detector.Policy{
		Settings: p.Detectors[k.Name], Observe: p.Action == rules.Observe, Matcher: p.Matcher,
		ScanInterval: p.ScanInterval, LogEnv: p.LogEnv, LogExecs: p.LogLevel == slog.LevelDebug,
	}
}

// ForDetector returns a detector's part of the policy.
func (p *Policy) ForDetector(k detector.Kind) detector.Policy { return p.forDetector(k) }

// otherActions returns the actions of those of these detectors that have another one in force than
// the agent, which is the most that each does.
func (p *Policy) otherActions(detectors []string) map[string]string {
	others := make(map[string]string)
	if p.Action == rules.Observe {
		return others
	}
	for _, name := range detectors {
		for _, s := range p.Detectors[name].Table() {
			if action, ok := s.Default.(string); ok && s.Key == "action" && action != string(p.Action) {
				others[name] = action
			}
		}
	}
	return others
}

// canReplace returns an error if a reload cannot replace old by p.
func (p *Policy) canReplace(old *Policy) error {
	var errs []error
	fixed := func(key string, same bool) {
		if !same {
			errs = append(errs, errors.New(key+": cannot change while the agent runs, restart it"))
		}
	}
	fixed("listen", p.Listen == old.Listen)
	fixed("pins", p.Pins == old.Pins)
	fixed("nodeName", p.NodeName == old.NodeName)
	fixed("containers", p.Containers.Equal(old.Containers))
	return errors.Join(errs...)
}

// warn logs the warnings, one line each.
func (p *Policy) warn(log *slog.Logger) {
	for _, w := range p.Warnings {
		log.Warn("unsafe setting or rule", "place", w.Place, "why", w.Text)
	}
}
