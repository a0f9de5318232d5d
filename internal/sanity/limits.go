package sanity

import (
	"regexp"

	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/secrets"
)

// killLimit reports a limit that a user can trip with a loop in a shell.
func (f *findings) killLimit() {
	const least = 10
	if n := f.config.KillLimit.PerMinute; n > 0 && n < least {
		f.warn(f.config.Place("killLimit.perMinute"), "a user who gets %d of his processes killed within a minute "+
			"disables kills on the whole machine: set it far above the usual number, or use perContainer", n)
	}
}

// logEnv reports environment variables that can contain secrets, and those whose values the log
// does not show for that reason.
func (f *findings) logEnv() {
	secret := regexp.MustCompile(`(?i)token|passw|secret|credential|(^|_)(api_?)?key$`)
	for i, name := range f.config.LogEnv {
		switch {
		case secrets.IsName(name):
			f.warn(f.config.Place(key("logEnv", i)), "%s may contain a secret, so the log has %s instead of its value", name, secrets.Hidden)
		case secret.MatchString(name):
			f.warn(f.config.Place(key("logEnv", i)), "%s may contain a secret, which all readers of the log would see", name)
		}
	}
}

// A risky section of a detector can have valid settings with which the detector is more
// likely to kill legitimate programs.
type risky interface {
	// Risks calls warn for each such setting. Keys are relative to the section.
	Risks(warn func(key, why string))
}

// detectors reports risky settings of the enabled detectors.
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
