package main

import (
	"errors"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cryptnono/cryptnono/internal/agent"
	"github.com/cryptnono/cryptnono/internal/config"
	"github.com/cryptnono/cryptnono/internal/detectors"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// settings holds the flags that change a configuration. Flags override the settings file,
// which overrides the defaults.
type settings struct {
	file      string
	logFormat logFormat
	flags     config.Config
	builtin   builtinFlag
	apply     map[string]func(*config.Config) // by flag: copies the flag's value
	set       *pflag.FlagSet
}

// addSettings adds the named flags to a command.
func addSettings(cmd *cobra.Command, names ...string) *settings {
	s := &settings{logFormat: jsonFormat, flags: config.Default(detectors.All()), set: cmd.Flags()}
	f := &s.flags
	wanted := make(map[string]bool)
	for _, n := range names {
		wanted[n] = true
	}
	s.apply = map[string]func(*config.Config){
		"rules":         func(c *config.Config) { c.Rules = f.Rules },
		"builtin-rules": func(c *config.Config) { _ = s.builtin.apply(c.BuiltinRules) }, // Set has checked it
		"action":        func(c *config.Config) { c.Action = f.Action },
		"scan-interval": func(c *config.Config) {
			c.ScanInterval = f.ScanInterval
			c.Override("scanInterval")
		},
		"listen":    func(c *config.Config) { c.Listen = f.Listen },
		"log-level": func(c *config.Config) { c.LogLevel = f.LogLevel },
	}
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	all.StringVar(&s.file, "config", "", "settings `FILE`, YAML or JSON")
	all.StringArrayVar(&f.Rules, "rules", nil, "rule file or directory `PATH`; can be repeated")
	all.Var(&s.builtin, "builtin-rules", "use the built-in rules: `WHICH` is true, false, or GROUP=kill|observe|off,...; can be repeated")
	all.Var((*actionFlag)(&f.Action), "action", "what to do with a miner: kill or observe")
	all.DurationVar(&f.ScanInterval, "scan-interval", f.ScanInterval, "`DURATION` between scans of running processes; 0 disables scans")
	all.StringVar(&f.Listen, "listen", f.Listen, "`ADDR` (host:port) of /metrics, /healthz and /readyz")
	all.TextVar(&f.LogLevel, "log-level", f.LogLevel, "minimum `LEVEL` of log lines: debug, info, warn or error")
	all.Var(&s.logFormat, "log-format", "`FORMAT` of log lines: json, or text for people")
	all.Lookup("log-level").DefValue = strings.ToLower(f.LogLevel.String())
	all.VisitAll(func(flag *pflag.Flag) {
		if wanted[flag.Name] {
			cmd.Flags().AddFlag(flag)
		}
	})
	return s
}

// load returns the valid configuration from defaults, file and flags.
func (s *settings) load() (config.Config, error) {
	c := config.Default(detectors.All())
	if s.file != "" {
		var err error
		if c, err = config.Load(s.file, detectors.All()); err != nil {
			return c, statusError{exitUsage, err}
		}
	}
	s.set.Visit(func(flag *pflag.Flag) {
		if apply := s.apply[flag.Name]; apply != nil {
			apply(&c)
		}
	})
	if err := c.Validate(); err != nil {
		return c, statusError{exitUsage, err}
	}
	return c, nil
}

// files returns the settings files that load reads.
func (s *settings) files() []string {
	if s.file == "" {
		return nil
	}
	return []string{s.file}
}

// policy returns the configuration with its compiled rules.
func (s *settings) policy() (agent.Policy, error) { return s.read(agent.Compile) }

// read returns the configuration with its rules, which compile compiles.
func (s *settings) read(compile func(config.Config) (agent.Policy, error)) (agent.Policy, error) {
	p, err := agent.Read(s.files(), s.load, compile)
	if _, hasStatus := errors.AsType[statusError](err); err != nil && !hasStatus {
		err = statusError{exitUsage, err}
	}
	return p, err
}

// compile reads and compiles the rules of a configuration.
func compile(c config.Config) (agent.Policy, error) {
	p, err := agent.Compile(c)
	if err != nil {
		return p, statusError{exitUsage, err}
	}
	return p, nil
}

// builtinFlag implements pflag.Value for changes of the actions of the built-in rules: each
// is true, false, or GROUP=ACTION,...
type builtinFlag []string

func (b *builtinFlag) String() string { return "" }
func (b *builtinFlag) Type() string   { return "GROUP=ACTION" }

func (b *builtinFlag) Set(text string) error {
	*b = append(*b, text)
	return b.apply(rules.DefaultActions())
}

// apply makes the changes in a, in their order. It does not fail after Set has succeeded.
func (b *builtinFlag) apply(a rules.Actions) error {
	var errs []error
	for _, text := range *b {
		if on, err := strconv.ParseBool(text); err == nil {
			a.SwitchAll(on)
			continue
		}
		for one := range strings.SplitSeq(text, ",") {
			name, action, _ := strings.Cut(one, "=")
			errs = append(errs, a.Switch(name, action))
		}
	}
	return errors.Join(errs...)
}

// actionFlag implements pflag.Value for an action.
type actionFlag rules.Action

func (a *actionFlag) String() string { return string(*a) }
func (a *actionFlag) Type() string   { return "ACTION" }

func (a *actionFlag) Set(text string) error {
	action, err := rules.ParseAction(text)
	*a = actionFlag(action)
	return err
}
