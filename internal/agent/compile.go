package agent

import (
	"slices"

	"github.com/cryptnono/cryptnono/internal/config"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/sanity"
)

// Read calls load, which reads these settings files, and compiles the rules with compile: Compile
// or CompileGood. The policy has the paths of the rule files and its version also with an error of compile.
func Read(files []string, load func() (config.Config, error), compile func(config.Config) (Policy, error)) (Policy, error) {
	before := versionOf(files)
	c, err := load()
	if err != nil {
		return Policy{}, err
	}
	version := versionOf(slices.Concat(files, c.Rules))
	p, err := compile(c)
	p.Rules = c.Rules
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
	return compile(c, set)
}

// CompileGood is Compile, but it leaves out the rule files that Compile refuses, except for their
// allow patterns. The policy then does what c.OnBadRules says. The error is about the settings,
// unless c.OnBadRules is config.StopWithout.
func CompileGood(c config.Config) (Policy, error) {
	files := rules.LoadEach(c.Rules)
	good, refused := rules.Set{}, []rules.File(nil)
	for _, f := range files {
		good.Add(f.Set)
		if f.Err != nil {
			refused = append(refused, f)
		}
	}
	p, err := compile(c, good)
	if err != nil { // for what the files say, or for the settings
		if _, err := compile(c, rules.Set{}); err != nil {
			return Policy{}, err
		}
		good, refused = fitting(c, rules.Set{}, files)
		p, err = compile(c, good)
	}
	if len(refused) > 0 && c.OnBadRules == config.ObserveWithout {
		c.Action = rules.Observe
		p, err = compile(c, good)
	}
	p.Refused = refused
	if len(refused) > 0 && c.OnBadRules == config.StopWithout {
		return Policy{}, p.refusal()
	}
	return p, err
}

// fitting adds the rules of files to good, which can be compiled, and leaves out the files with which
// it cannot. It halves the files until it finds these, because there can be thousands of others.
func fitting(c config.Config, good rules.Set, files []rules.File) (_ rules.Set, refused []rules.File) {
	var with, spared rules.Set
	with.Add(good)
	for _, f := range files {
		with.Add(f.Set)
		if f.Err != nil {
			refused = append(refused, f)
		}
	}
	_, err := compile(c, with)
	if err == nil {
		return with, refused
	}
	if n := len(files); n > 1 {
		good, first := fitting(c, good, files[:n/2])
		good, others := fitting(c, good, files[n/2:])
		return good, append(first, others...)
	}
	f := files[0]
	if f.Err == nil {
		f.Err = err
	}
	spared.Add(good)
	spared.Allowed = append(spared.Allowed, f.Set.Allowed...)
	if _, err := compile(c, spared); err == nil {
		good = spared
	}
	return good, []rules.File{f}
}

// compile compiles the built-in rules of a configuration and others.
func compile(c config.Config, others rules.Set) (Policy, error) {
	set := c.BuiltinRules.Rules()
	set.Add(others)
	if c.Action == rules.Observe {
		for i := range set.Bans {
			set.Bans[i].Action, set.Bans[i].Likely = rules.Observe, false
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
