package agent

import (
	"errors"
	"slices"

	"github.com/cryptnono/cryptnono/internal/config"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// A Policy is what an operator wants: the settings, and the rules that they name.
type Policy struct {
	config.Config
	Matcher *match.Matcher
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

// Compile reads the rules that a configuration names and compiles them.
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
	return Policy{Config: c, Matcher: m}, err
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
	fixed("containers", p.Containers.Same(old.Containers))
	return errors.Join(errs...)
}
