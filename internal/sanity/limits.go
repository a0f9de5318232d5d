package sanity

import (
	"regexp"

	"github.com/cryptnono/cryptnono/internal/config"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// brake finds a limit of kills that a user reaches with a loop in a shell.
func (f *findings) brake() {
	const least = 10
	if n := f.config.KillLimit.PerMinute; n > 0 && n < least {
		f.warn(f.config.Place("brake.killsPerMinute"), "a user who has %d processes of his own killed in a minute "+
			"turns kills off for everybody on this machine: set it far above what you see, or use containerKillsPerMinute", n)
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

// thresholds finds those of the monero detector by which honest programs would be
// taken for miners.
func (f *findings) thresholds() {
	c := f.config
	if !c.Monero.Enabled || c.Monero.Action == rules.Observe || c.Action == rules.Observe {
		return
	}
	usual := config.Default().Monero.Thresholds
	set := c.Monero.Thresholds
	for _, t := range []struct {
		key        string
		set, usual float64
	}{
		{"minSamples", float64(set.MinSamples), float64(usual.MinSamples)},
		{"minDirected", set.MinDirected, usual.MinDirected},
		{"minJIT", set.MinJIT, usual.MinJIT},
		{"minPairs", float64(set.MinPairs), float64(usual.MinPairs)},
		{"minPairsSum", float64(set.MinPairsSum), float64(usual.MinPairsSum)},
		{"minEachMode", set.MinEachMode, usual.MinEachMode},
	} {
		if t.set < t.usual/2 {
			f.warn(c.Place("monero.thresholds."+t.key), "%v is less than half of the default, %v: honest programs are more likely to be killed", t.set, t.usual)
		}
	}
	for _, t := range []struct {
		key        string
		set, usual float64
	}{
		{"maxUneven", set.MaxUneven, usual.MaxUneven},
		{"maxDependent", set.MaxDependent, usual.MaxDependent},
	} {
		if t.set > 2*t.usual {
			f.warn(c.Place("monero.thresholds."+t.key), "%v is more than twice the default, %v: honest programs are more likely to be killed", t.set, t.usual)
		}
	}
}
