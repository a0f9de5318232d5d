package sanity

import (
	"regexp"

	"github.com/cryptnono/cryptnono/internal/rules"
)

// killLimit finds a limit of kills that a user reaches with a loop in a shell.
func (f *findings) killLimit() {
	const least = 10
	if n := f.config.KillLimit.PerMinute; n > 0 && n < least {
		f.warn(f.config.Place("killLimit.perMinute"), "a user who has %d processes of his own killed in a minute "+
			"turns kills off for everybody on this machine: set it far above what you see, or use perContainer", n)
	}
}

// logEnv finds variables whose values must not be in a log.
func (f *findings) logEnv() {
	secret := regexp.MustCompile(`(?i)token|passw|secret|credential|(^|_)(api_?)?key$`)
	for i, name := range f.config.LogEnv {
		if secret.MatchString(name) {
			f.warn(f.config.Place(key("logEnv", i)), "%s seems to hold a secret, which everybody who reads the log would have", name)
		}
	}
}

// A risky section of a detector warns of valid settings with which the detector is more
// likely to kill legitimate programs.
type risky interface {
	// Risks calls warn for each. Keys are within the section.
	Risks(warn func(key, why string))
}

// detectors asks the enabled detectors for their risky settings.
func (f *findings) detectors() {
	if f.config.Action == rules.Observe {
		return
	}
	for _, name := range f.config.Enabled() {
		if d, ok := f.config.Detectors[name].(risky); ok {
			d.Risks(func(key, why string) { f.warn(f.config.Place(name+"."+key), "%s", why) })
		}
	}
}
