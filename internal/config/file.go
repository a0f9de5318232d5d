package config

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/killlimit"
	"github.com/cryptnono/cryptnono/internal/strict"
)

// Load returns the default settings with those of file, in YAML or JSON, laid
// over them. Paths in the file are relative to its directory. Each value is
// checked on its own; whether they make sense together is for Validate to say,
// after the options of the command line.
func Load(file string) (Config, error) {
	c := Default()
	if err := strict.Read(file, func(root strict.Value) { c.decode(root, filepath.Dir(file)) }); err != nil {
		return Config{}, err
	}
	return c, nil
}

// decode lays the settings in root over c. Values of a wrong type leave the
// default, which passes its check, so that nothing is reported twice.
func (c *Config) decode(root strict.Value, dir string) {
	root.Map(map[string]func(strict.Value){
		"rules":        c.texts(&c.Rules, checkPath, func(path string) string { return inDir(dir, path) }),
		"builtinRules": func(v strict.Value) { v.Bool(&c.BuiltinRules) },
		"action": func(v strict.Value) {
			v.Text((*string)(&c.Action))
			v.Check(checkAction(c.Action))
		},
		"scanInterval": func(v strict.Value) {
			c.read(v)
			v.Duration(&c.ScanInterval)
			v.Check(checkScanInterval(c.ScanInterval))
		},
		"listen": func(v strict.Value) {
			v.Text(&c.Listen)
			v.Check(checkListen(c.Listen))
		},
		"logLevel":    c.decodeLogLevel,
		"logEnv":      c.texts(&c.LogEnv, checkVariable, nil),
		"nodeName":    func(v strict.Value) { v.Text(&c.NodeName) },
		"containers":  c.decodeContainers,
		"exemptions":  c.decodeExemptions,
		"brake":       c.decodeBrake,
		"execwhacker": c.Execwhacker.decode,
		"monero":      c.decodeMonero,
	})
}

func (c *Config) decodeLogLevel(v strict.Value) {
	var name string
	if !v.Text(&name) {
		return
	}
	if err := c.LogLevel.UnmarshalText([]byte(name)); err != nil {
		v.Check(fmt.Errorf("%q is not one of debug, info, warn and error", name))
		return
	}
	v.Check(checkLevel(c.LogLevel))
}

// texts returns a reader of a list of strings, each of which must pass check, and is
// changed if change is not nil.
func (c *Config) texts(list *[]string, check func(string) error, change func(string) string) func(strict.Value) {
	return func(v strict.Value) {
		*list = []string{} // what is given takes the place of the default
		v.List(func(_ int, v strict.Value) {
			var text string
			if !v.Text(&text) {
				return
			}
			c.read(v)
			v.Check(check(text))
			if change != nil {
				text = change(text)
			}
			*list = append(*list, text)
		})
	}
}

func (c *Config) decodeContainers(v strict.Value) {
	its := &c.Containers
	v.Map(map[string]func(strict.Value){
		"sockets":      c.texts(&its.Sockets, checkAbsolute, nil),
		"innerSockets": c.texts(&its.InnerSockets, checkAbsolute, nil),
		"cgroupBase": func(v strict.Value) {
			if v.Text(&its.CgroupBase) {
				v.Check(checkAbsolute(its.CgroupBase))
			}
		},
	})
}

func (c *Config) decodeExemptions(v strict.Value) {
	e := &c.Exemptions
	v.Map(map[string]func(strict.Value){
		"namespaces": c.texts(&e.Namespaces, exempt.CheckNamespace, nil),
		"podLabels":  c.texts(&e.PodLabels, exempt.CheckLabel, nil),
		"cgroups":    c.texts(&e.Cgroups, exempt.CheckCgroup, nil),
		"programs":   c.texts(&e.Programs, exempt.CheckProgram, nil),
	})
}

func (c *Config) decodeBrake(v strict.Value) {
	b := &c.KillLimit
	kills := func(n *int) func(strict.Value) {
		return func(v strict.Value) {
			c.read(v)
			v.Int(n)
			v.Check(killlimit.CheckKills(*n))
		}
	}
	v.Map(map[string]func(strict.Value){
		"killsPerMinute":          kills(&b.PerMinute),
		"containerKillsPerMinute": kills(&b.PerContainer),
		"quietPeriod": func(v strict.Value) {
			v.Duration(&b.Cooldown)
			v.Check(killlimit.CheckCooldown(b.Cooldown))
		},
	})
}

func (e *Execwhacker) decode(v strict.Value) {
	v.Map(map[string]func(strict.Value){
		"enabled": func(v strict.Value) { v.Bool(&e.Enabled) },
	})
}

func (c *Config) decodeMonero(v strict.Value) {
	m := &c.Monero
	v.Map(map[string]func(strict.Value){
		"enabled": func(v strict.Value) { v.Bool(&m.Enabled) },
		"action": func(v strict.Value) {
			v.Text((*string)(&m.Action))
			v.Check(checkAction(m.Action))
		},
		"killUncorroborated": func(v strict.Value) { v.Bool(&m.KillUncorroborated) },
		"thresholds":         c.decodeThresholds,
	})
}

func (c *Config) decodeThresholds(v strict.Value) {
	t := &c.Monero.Thresholds
	fields := make(map[string]func(strict.Value))
	for key, field := range map[string]*time.Duration{
		"window": &t.Window, "spacing": &t.Spacing, "pairSpacing": &t.PairSpacing, "maxPairGap": &t.MaxPairGap,
	} {
		fields[key] = func(v strict.Value) { v.Duration(field) }
	}
	for key, field := range map[string]*int{
		"maxThreads": &t.MaxThreads, "minSamples": &t.MinSamples, "minPairs": &t.MinPairs, "minPairsSum": &t.MinPairsSum,
	} {
		fields[key] = func(v strict.Value) {
			c.read(v)
			v.Int(field)
		}
	}
	for key, field := range map[string]*float64{
		"minDirected": &t.MinDirected, "minJIT": &t.MinJIT, "minEachMode": &t.MinEachMode, "minNearest": &t.MinNearest,
		"maxNearest": &t.MaxNearest, "maxUneven": &t.MaxUneven, "maxDependent": &t.MaxDependent, "maxHeld": &t.MaxHeld,
	} {
		fields[key] = func(v strict.Value) {
			c.read(v)
			v.Float(field)
		}
	}
	v.Map(fields)
	v.Check(t.Validate())
}

func inDir(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
