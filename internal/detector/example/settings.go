package example

import (
	"fmt"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/setting"
)

// Kind describes the detector.
func Kind() detector.Kind {
	return detector.Kind{
		Name:     Name,
		Settings: func() detector.Section { return Defaults() },
		Load:     detector.Loader(Load),
	}
}

// Settings are the section of the settings file.
type Settings struct {
	Enabled bool
	Action  rules.Action
	Names   []string
}

// Defaults returns new settings with their defaults.
func Defaults() *Settings { return &Settings{Action: rules.Kill, Names: []string{"xmrig"}} }

// Table declares the settings.
func (s *Settings) Table() setting.Table {
	return setting.Table{
		setting.Bool("enabled", &s.Enabled, "Match command names."),
		setting.Choice("action", &s.Action, "As `action`, for this detector only.", rules.Kill, rules.Observe),
		setting.Texts("names", &s.Names, setting.Syntax{Name: "names", Check: checkName}, "Command names of programs that are killed."),
	}
}

// IsEnabled reports whether the detector is to run.
func (s *Settings) IsEnabled() bool { return s.Enabled }

func checkName(name string) error {
	if name == "" || len(name) >= nameSize {
		return fmt.Errorf("%q is not a name of 1 to %d bytes", name, nameSize-1)
	}
	return nil
}
