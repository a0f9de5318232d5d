package detector

import "github.com/cryptnono/cryptnono/internal/setting"

// A Kind is what the agent knows of a detector before it is loaded. Package detectors
// lists all of them.
type Kind struct {
	Name     string         // in settings, logs and metrics
	Settings func() Section // returns new settings with their defaults
}

// A Section holds the settings of one detector: the map with its name in the settings
// file. After the file is read it does not change.
type Section interface {
	// Table declares the settings.
	Table() setting.Table
	// IsEnabled reports whether the detector is to run.
	IsEnabled() bool
}
