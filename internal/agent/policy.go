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

// A Policy is what an operator wants: the settings, and the rules that they name.
type Policy struct {
	config.Config
	Matcher *match.Matcher
	// Warnings are of settings and rules that may be meant, but do more than they say.
	Warnings []sanity.Warning
	// seen are the files as they were when they were read; 0 if that is not sure.
	seen fingerprint
}

// Read returns the policy that a configuration gives, which load reads from these
// files.
func Read(files []string, load func() (config.Config, error)) (Policy, error) {
	before := look(files)
	c, err := load()
	if err != nil {
		return Policy{}, err
	}
	seen := look(slices.Concat(files, c.Rules))
	p, err := Compile(c)
	if look(files) == before {
		p.seen = seen
	}
	return p, err
}

// Compile reads the rules that a configuration names and compiles them. Settings and
// rules that nobody can mean are an error.
func Compile(c config.Config) (Policy, error) {
	set, err := rules.Load(c.Rules)
	if err != nil {
		return Policy{}, err
	}
	if c.BuiltinRules {
		b := rules.Builtin()
		set.Bans = append(b.Bans, set.Bans...)
		set.Allowed = append(b.Allowed, set.Allowed...)
	}
	if c.Action == rules.Observe {
		for i := range set.Bans {
			set.Bans[i].Action = rules.Observe
		}
	}
	m, err := match.Compile(set)
	if err != nil {
		return Policy{}, err
	}
	warnings, err := sanity.Check(c, m)
	return Policy{Config: c, Matcher: m, Warnings: warnings}, err
}

// of returns the part of the policy that is a detector's.
func (p *Policy) of(k detector.Kind) detector.Policy {
	return detector.Policy{
		Settings: p.Detectors[k.Name], Observe: p.Action == rules.Observe, Matcher: p.Matcher,
		ScanInterval: p.ScanInterval, LogEnv: p.LogEnv,
	}
}

// mayFollow returns an error if a policy cannot take the place of another while the
// agent runs.
func (p *Policy) mayFollow(old *Policy) error {
	var errs []error
	fixed := func(key string, same bool) {
		if !same {
			errs = append(errs, errors.New(key+": cannot change while the agent runs, start it anew"))
		}
	}
	fixed("listen", p.Listen == old.Listen)
	fixed("nodeName", p.NodeName == old.NodeName)
	fixed("containers", p.Containers.Equal(old.Containers))
	return errors.Join(errs...)
}

// warn logs what the operator of a policy should look at, a line each.
func (p *Policy) warn(log *slog.Logger) {
	for _, w := range p.Warnings {
		log.Warn("setting or rule to look at", "place", w.Place, "why", w.Text)
	}
}
