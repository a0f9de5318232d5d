// Package config holds the settings of the agent: their defaults, limits, and the
// settings file. Detectors declare their own settings; this package does not depend on
// any detector.
package config

import (
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/escalate"
	"github.com/cryptnono/cryptnono/internal/evidence"
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/killlimit"
	"github.com/cryptnono/cryptnono/internal/notify"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/strict"
)

// Config holds the settings of one run. Command-line flags override what Load returns;
// after that, Validate must pass.
type Config struct {
	Rules        []string      // rule files and directories, as for rules.Load
	BuiltinRules rules.Actions // of the built-in rules, which apply as well
	Action       rules.Action  // Observe: no process is killed, only logged
	OnBadRules   BadRules      // what is done without rule files that have a problem
	ScanInterval time.Duration // between scans of all processes; 0 for none, also at start
	Listen       string        // host:port of the HTTP endpoints; empty for none
	// ListenTokenFile has the bearer token of clients; empty if all may read everything
	ListenTokenFile string
	LogLevel        slog.Level // one of Debug, Info, Warn and Error
	LogEnv          []string   // environment variables of a process that are logged
	Annotations     []string   // annotations of pods that are logged
	Notices         []string   // about the settings, for their operator; each is a line in the log
	NodeName        string     // of this machine, in the log; empty for none
	Pins            string     // directory in a bpffs; empty for none
	Containers      Containers
	Exemptions      exempt.Rules
	KillLimit       killlimit.Limits
	Escalation      escalate.Settings
	Evidence        evidence.Settings
	Receivers       []notify.Receiver           // of notifications; their files are absolute
	Detectors       map[string]detector.Section // by name; each has the type that its package declares

	Places map[string]string // by key, for Place; nil without a file
}

// Containers configures how containers are identified.
type Containers struct {
	Sockets       []string // paths on the host, in addition to container.DefaultSockets
	NestedSockets []string // of runtimes in pods, in addition to container.DefaultNestedSockets
	CgroupRoot    string   // cgroup of the node, if that is a container itself
}

// BadRules is what an agent does at its start if a rule file has a problem.
type BadRules string

const (
	// KillWithout protects with the built-in rules and the other files.
	KillWithout BadRules = "kill"
	// ObserveWithout only logs, by the built-in rules and the other files, until the file is corrected.
	ObserveWithout BadRules = "observe"
	// StopWithout does not start the agent.
	StopWithout BadRules = "stop"
)

// Equal reports whether c and other are the same settings.
func (c Containers) Equal(other Containers) bool {
	return c.CgroupRoot == other.CgroupRoot && slices.Equal(c.Sockets, other.Sockets) &&
		slices.Equal(c.NestedSockets, other.NestedSockets)
}

// Default returns the settings without a file and flags, with those of the detectors.
func Default(kinds []detector.Kind) Config {
	c := Config{
		BuiltinRules: rules.DefaultActions(),
		Action:       rules.Kill,
		OnBadRules:   KillWithout,
		ScanInterval: 10 * time.Minute,
		LogLevel:     slog.LevelInfo,
		Annotations:  []string{"hub.jupyter.org/username", "hub.jupyter.org/servername"},
		NodeName:     nodeName(),
		KillLimit:    killlimit.Limits{Victims: 10, WarmUp: 10 * time.Minute, Cooldown: 10 * time.Minute},
		Escalation:   escalate.Default(),
		Evidence:     evidence.Default(),
		Detectors:    make(map[string]detector.Section, len(kinds)),
	}
	for _, k := range kinds {
		c.Detectors[k.Name] = k.Settings()
	}
	return c
}

// nodeName returns the Kubernetes node name, or else the host name.
func nodeName() string {
	if name := os.Getenv("NODE_NAME"); name != "" {
		return name
	}
	name, _ := os.Hostname()
	return name
}

// Load returns the default settings, overridden by those of a YAML or JSON file. Paths in
// the file are relative to its directory. Load checks each value; Validate checks
// combinations, after flags are applied.
func Load(file string, kinds []detector.Kind) (Config, error) {
	c := Default(kinds)
	c.Places = make(map[string]string)
	err := strict.Read(file, func(root strict.Value) {
		c.Table().Decode(root, func(v strict.Value) { c.Places[v.Path()] = v.Place() })
	})
	if err != nil {
		return Config{}, err
	}
	for i, path := range c.Rules {
		if !filepath.IsAbs(path) {
			c.Rules[i] = filepath.Join(filepath.Dir(file), path)
		}
	}
	if c.ListenTokenFile != "" && !filepath.IsAbs(c.ListenTokenFile) {
		c.ListenTokenFile = filepath.Join(filepath.Dir(file), c.ListenTokenFile)
	}
	for i, r := range c.Receivers {
		c.Receivers[i] = r.In(filepath.Dir(file))
	}
	return c, nil
}

// Validate returns all errors in c, one per line, by the key in the settings file.
func (c *Config) Validate() error {
	errs := []error{c.Table().Validate()}
	enabled := c.Enabled()
	if len(enabled) == 0 {
		errs = append(errs, errors.New("no detector is enabled"))
	}
	if !c.BuiltinRules.AnyOn() && len(c.Rules) == 0 {
		for _, name := range enabled {
			if d, ok := c.Detectors[name].(rulesUser); ok && d.NeedsRules() {
				errs = append(errs, errors.New("rules: no rules are given and the built-in ones are off, so "+name+" cannot detect anything"))
			}
		}
	}
	return errors.Join(errs...)
}

// A rulesUser is the section of a detector that detects nothing without rules.
type rulesUser interface{ NeedsRules() bool }

// Enabled returns the sorted names of the enabled detectors.
func (c *Config) Enabled() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(c.Detectors)), func(name string) bool {
		return !c.Detectors[name].IsEnabled()
	})
}

// Place returns where a setting was read, as "FILE:LINE: KEY", or only the key if it is
// not from a file. Each item of a list has its own key, such as "rules[0]".
func (c *Config) Place(key string) string {
	if place, ok := c.Places[key]; ok {
		return place
	}
	return key
}

// Override removes the place of a setting that a flag has overridden.
func (c *Config) Override(key string) { delete(c.Places, key) }
