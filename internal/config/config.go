// Package config holds the settings of the agent: their defaults, the file
// that changes them, and their limits. It goes over the detectors that it is
// given and knows none of them.
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
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/killlimit"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/strict"
)

// Config holds the settings of one run. Options of the command line are laid
// over what Load returns; after that, Validate must pass.
type Config struct {
	Rules        []string      // rule files and directories, as for rules.Load
	BuiltinRules bool          // whether rules.Builtin applies as well
	Action       rules.Action  // Observe turns every kill into an observation
	ScanInterval time.Duration // between scans of all processes; 0 for none, not even at start
	Listen       string        // host:port of the HTTP endpoints; empty for none
	LogLevel     slog.Level    // one of Debug, Info, Warn and Error
	LogEnv       []string      // variables of a process's environment that are logged
	NodeName     string        // of this machine, in the log; empty for none
	Containers   Containers
	Exemptions   exempt.Rules
	KillLimit    killlimit.Limits
	Detectors    map[string]detector.Section // by name; each has the type that its package declares

	Places map[string]string // where it was read, by key, for Place; nil without a file
}

// Containers say where the container runtimes are.
type Containers struct {
	Sockets       []string // paths on the host, besides container.DefaultSockets
	NestedSockets []string // of runtimes in pods, besides the default ones of package container
	CgroupRoot    string   // cgroup of the node, if that is a container itself
}

// Equal reports whether both say the same.
func (c Containers) Equal(other Containers) bool {
	return c.CgroupRoot == other.CgroupRoot && slices.Equal(c.Sockets, other.Sockets) &&
		slices.Equal(c.NestedSockets, other.NestedSockets)
}

// Default returns the settings of a run without a file and without options, with
// those of these detectors.
func Default(kinds []detector.Kind) Config {
	c := Config{
		BuiltinRules: true,
		Action:       rules.Kill,
		ScanInterval: 10 * time.Minute,
		LogLevel:     slog.LevelInfo,
		NodeName:     nodeName(),
		KillLimit:    killlimit.Limits{Cooldown: 10 * time.Minute},
		Detectors:    make(map[string]detector.Section, len(kinds)),
	}
	for _, k := range kinds {
		c.Detectors[k.Name] = k.Settings()
	}
	return c
}

// nodeName returns what Kubernetes calls this machine, or the machine itself.
func nodeName() string {
	if name := os.Getenv("NODE_NAME"); name != "" {
		return name
	}
	name, _ := os.Hostname()
	return name
}

// Load returns the default settings with those of file, in YAML or JSON, laid
// over them. Paths in the file are relative to its directory. Each value is
// checked on its own; whether they make sense together is for Validate to say,
// after the options of the command line.
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
	return c, nil
}

// Validate returns all that is wrong with c, a line each, by the key in the
// settings file.
func (c *Config) Validate() error {
	errs := []error{c.Table().Validate()}
	enabled := c.Enabled()
	if len(enabled) == 0 {
		errs = append(errs, errors.New("no detector is enabled"))
	}
	if !c.BuiltinRules && len(c.Rules) == 0 {
		for _, name := range enabled {
			if d, ok := c.Detectors[name].(rulesUser); ok && d.NeedsRules() {
				errs = append(errs, errors.New("rules: none are given and builtinRules is false, so "+name+" could find nothing"))
			}
		}
	}
	return errors.Join(errs...)
}

// A rulesUser is the section of a detector that finds nothing without rules.
type rulesUser interface{ NeedsRules() bool }

// Enabled returns the names of the detectors that are to run, sorted.
func (c *Config) Enabled() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(c.Detectors)), func(name string) bool {
		return !c.Detectors[name].IsEnabled()
	})
}

// Place returns where a setting was read, as "FILE:LINE: KEY", or the key alone if it
// is not from a file. Lists have a place for each item, as "rules[0]".
func (c *Config) Place(key string) string {
	if place, ok := c.Places[key]; ok {
		return place
	}
	return key
}

// Override forgets the place of a setting, which an option of the command line has
// taken the place of.
func (c *Config) Override(key string) { delete(c.Places, key) }
