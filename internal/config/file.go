package config

import (
	"fmt"
	"path/filepath"
	"time"

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
		"rules": func(v strict.Value) {
			v.List(func(_ int, v strict.Value) {
				var path string
				if v.Text(&path) {
					v.Check(checkPath(path))
					c.Rules = append(c.Rules, inDir(dir, path))
				}
			})
		},
		"builtinRules": func(v strict.Value) { v.Bool(&c.BuiltinRules) },
		"action": func(v strict.Value) {
			v.Text((*string)(&c.Action))
			v.Check(checkAction(c.Action))
		},
		"scanInterval": func(v strict.Value) {
			v.Duration(&c.ScanInterval)
			v.Check(checkScanInterval(c.ScanInterval))
		},
		"listen": func(v strict.Value) {
			v.Text(&c.Listen)
			v.Check(checkListen(c.Listen))
		},
		"logLevel":    c.decodeLogLevel,
		"execwhacker": c.Execwhacker.decode,
		"monero":      c.Monero.decode,
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

func (e *Execwhacker) decode(v strict.Value) {
	v.Map(map[string]func(strict.Value){
		"enabled": func(v strict.Value) { v.Bool(&e.Enabled) },
	})
}

func (m *Monero) decode(v strict.Value) {
	v.Map(map[string]func(strict.Value){
		"enabled": func(v strict.Value) { v.Bool(&m.Enabled) },
		"action": func(v strict.Value) {
			v.Text((*string)(&m.Action))
			v.Check(checkAction(m.Action))
		},
		"killUncorroborated": func(v strict.Value) { v.Bool(&m.KillUncorroborated) },
		"thresholds":         m.decodeThresholds,
	})
}

func (m *Monero) decodeThresholds(v strict.Value) {
	t := &m.Thresholds
	fields := make(map[string]func(strict.Value))
	for key, field := range map[string]*time.Duration{
		"window": &t.Window, "spacing": &t.Spacing, "pairSpacing": &t.PairSpacing, "maxPairGap": &t.MaxPairGap,
	} {
		fields[key] = func(v strict.Value) { v.Duration(field) }
	}
	for key, field := range map[string]*int{
		"maxThreads": &t.MaxThreads, "minSamples": &t.MinSamples, "minPairs": &t.MinPairs, "minPairsSum": &t.MinPairsSum,
	} {
		fields[key] = func(v strict.Value) { v.Int(field) }
	}
	for key, field := range map[string]*float64{
		"minDirected": &t.MinDirected, "minJIT": &t.MinJIT, "minEachMode": &t.MinEachMode, "minNearest": &t.MinNearest,
		"maxNearest": &t.MaxNearest, "maxUneven": &t.MaxUneven, "maxDependent": &t.MaxDependent, "maxHeld": &t.MaxHeld,
	} {
		fields[key] = func(v strict.Value) { v.Float(field) }
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
