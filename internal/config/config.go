// Package config holds the settings of the agent: their defaults, the file
// that changes them, and their limits. docs/configuration.md describes each
// for users.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/killlimit"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/strict"
)

// MinScanInterval is the shortest time between two scans of all processes.
const MinScanInterval = time.Second

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
	Execwhacker  Execwhacker
	Monero       Monero

	Places map[string]string // where it was read, by key, for Place; nil without a file
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

// read notes the place of a setting.
func (c *Config) read(v strict.Value) {
	if c.Places == nil {
		c.Places = make(map[string]string)
	}
	c.Places[v.Path()] = v.Place()
}

// Containers say where the container runtimes are.
type Containers struct {
	Sockets      []string // paths on the host, besides container.DefaultSockets
	InnerSockets []string // of runtimes in pods, besides container.DefaultNestedSockets
	CgroupBase   string   // cgroup of the node, if that is a container itself
}

// Same reports whether both say the same.
func (c Containers) Same(other Containers) bool {
	return c.CgroupBase == other.CgroupBase && slices.Equal(c.Sockets, other.Sockets) &&
		slices.Equal(c.InnerSockets, other.InnerSockets)
}

// Execwhacker holds the settings of the detector of that name.
type Execwhacker struct {
	Enabled bool
}

// Monero holds the settings of the detector of that name.
type Monero struct {
	Enabled bool
	Action  rules.Action // Observe turns this detector's kills into observations
	// KillUncorroborated has processes killed, not only observed, whose rounding
	// looks like RandomX but whose memory does not.
	KillUncorroborated bool
	Thresholds         rounding.Thresholds
}

// Default returns the settings of a run without a file and without options.
func Default() Config {
	return Config{
		BuiltinRules: true,
		Action:       rules.Kill,
		ScanInterval: 10 * time.Minute,
		LogLevel:     slog.LevelInfo,
		NodeName:     nodeName(),
		KillLimit:    killlimit.Limits{Cooldown: 10 * time.Minute},
		Execwhacker:  Execwhacker{Enabled: true},
		Monero:       Monero{Enabled: true, Action: rules.Kill, Thresholds: rounding.Defaults()},
	}
}

// nodeName returns what Kubernetes calls this machine, or the machine itself.
func nodeName() string {
	if name := os.Getenv("NODE_NAME"); name != "" {
		return name
	}
	name, _ := os.Hostname()
	return name
}

// Validate returns all that is wrong with c, a line each, by the key in the
// settings file.
func (c Config) Validate() error {
	var errs []error
	check := func(key string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
		}
	}
	for i, path := range c.Rules {
		check(fmt.Sprintf("rules[%d]", i), checkPath(path))
	}
	check("action", checkAction(c.Action))
	check("scanInterval", checkScanInterval(c.ScanInterval))
	check("listen", checkListen(c.Listen))
	check("logLevel", checkLevel(c.LogLevel))
	for i, name := range c.LogEnv {
		check(fmt.Sprintf("logEnv[%d]", i), checkVariable(name))
	}
	for i, path := range c.Containers.Sockets {
		check(fmt.Sprintf("containers.sockets[%d]", i), checkAbsolute(path))
	}
	for i, path := range c.Containers.InnerSockets {
		check(fmt.Sprintf("containers.innerSockets[%d]", i), checkAbsolute(path))
	}
	if c.Containers.CgroupBase != "" {
		check("containers.cgroupBase", checkAbsolute(c.Containers.CgroupBase))
	}
	errs = append(errs, c.Exemptions.Validate(), c.KillLimit.Validate())
	check("monero.action", checkAction(c.Monero.Action))
	check("monero.thresholds", c.Monero.Thresholds.Validate())

	switch {
	case !c.Execwhacker.Enabled && !c.Monero.Enabled:
		errs = append(errs, errors.New("no detector is enabled"))
	case c.Execwhacker.Enabled && !c.BuiltinRules && len(c.Rules) == 0:
		check("rules", errors.New("none are given and builtinRules is false, so execwhacker could find nothing"))
	}
	return errors.Join(errs...)
}

func checkPath(path string) error {
	if path == "" {
		return errors.New("empty string")
	}
	return nil
}

func checkAbsolute(path string) error {
	if !strings.HasPrefix(path, "/") {
		return fmt.Errorf("%q does not begin with /", path)
	}
	return nil
}

func checkVariable(name string) error {
	if name == "" || strings.ContainsAny(name, "=\x00") {
		return fmt.Errorf("%q is not the name of a variable", name)
	}
	return nil
}

func checkAction(action rules.Action) error {
	_, err := rules.ParseAction(string(action))
	return err
}

func checkScanInterval(d time.Duration) error {
	if d != 0 && d < MinScanInterval {
		return fmt.Errorf("%v is below %v; 0 turns the scan off", d, MinScanInterval)
	}
	return nil
}

func checkListen(address string) error {
	if address == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("want HOST:PORT: %w", err)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("port %q is not a number from 0 to 65535", port)
	}
	return nil
}

func checkLevel(level slog.Level) error {
	switch level {
	case slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError:
		return nil
	}
	return fmt.Errorf("%v is not one of debug, info, warn and error", level)
}
