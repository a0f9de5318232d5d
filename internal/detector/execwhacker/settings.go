package execwhacker

import (
	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/setting"
)

// Kind describes the detector.
func Kind() detector.Kind {
	return detector.Kind{
		Name:     Name,
		Settings: func() detector.Section { return Defaults() },
		Load:     detector.Loader(Load),
		Scan:     Scan,
	}
}

// Settings are the section of the settings file.
type Settings struct {
	Enabled bool
}

// Defaults returns new settings with their defaults.
func Defaults() *Settings { return &Settings{Enabled: true} }

// Table declares the settings.
func (s *Settings) Table() setting.Table {
	return setting.Table{
		setting.Bool("enabled", &s.Enabled, "Match command lines."),
	}
}

// IsEnabled implements detector.Section.
func (s *Settings) IsEnabled() bool { return s.Enabled }

// NeedsRules returns true: without rules the detector cannot match anything.
func (s *Settings) NeedsRules() bool { return true }
