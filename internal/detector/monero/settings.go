package monero

import (
	"fmt"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
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
	Action  rules.Action // Observe turns this detector's kills into observations
	// KillWithoutMemoryEvidence also kills processes that have the rounding modes of RandomX
	// but less memory than it needs.
	KillWithoutMemoryEvidence bool
	Thresholds                rounding.Thresholds
}

// Defaults returns new settings with their defaults.
func Defaults() *Settings {
	return &Settings{Enabled: true, Action: rules.Kill, Thresholds: rounding.Defaults()}
}

// Table declares the settings.
func (s *Settings) Table() setting.Table {
	t := &s.Thresholds
	return setting.Table{
		setting.Bool("enabled", &s.Enabled, "Detect the algorithm of Monero, and some that came before it."),
		setting.Choice("action", &s.Action, "As `action`, for this detector only.", rules.Kill, rules.Observe),
		setting.Bool("killWithoutMemoryEvidence", &s.KillWithoutMemoryEvidence,
			"Also kill processes with the rounding modes of a miner but less memory than it needs. By default they are only logged, which is a likely sign."),
		setting.Group("thresholds", setting.Table{
			setting.Duration("window", &t.Window, time.Second, 24*time.Hour, "Time for which a sample of the rounding mode counts."),
			setting.Int("maxThreads", &t.MaxThreads, 1, 4096, "Threads that are tracked separately in a process or cgroup."),
			setting.Int("minSamples", &t.MinSamples, 1, 1_000_000, "Samples that the rule `jit` needs. The code location must be "+
				"known for at least this number times `minDirected`, which is half of them by default."),
			setting.Share("minDirected", &t.MinDirected, "Minimum share of samples in a rounding mode other than nearest, for the rule `jit`."),
			setting.Int("minPairs", &t.MinPairs, 1, 1_000_000, "Pairs of successive samples of one thread that the rule `pattern` "+
				"needs. From several threads together it needs four times as many."),
		}),
	}
}

// IsEnabled implements detector.Section.
func (s *Settings) IsEnabled() bool { return s.Enabled }

// Risks calls warn for each valid setting with which legitimate programs are more likely to
// be killed. Keys are within the section.
func (s *Settings) Risks(warn func(key, why string)) {
	if s.Action == rules.Observe {
		return
	}
	set, usual := s.Thresholds, rounding.Defaults()
	for _, t := range []struct {
		key        string
		set, usual float64
	}{
		{"minSamples", float64(set.MinSamples), float64(usual.MinSamples)},
		{"minDirected", set.MinDirected, usual.MinDirected},
		{"minPairs", float64(set.MinPairs), float64(usual.MinPairs)},
	} {
		if t.set < t.usual/2 {
			warn("thresholds."+t.key, fmt.Sprintf("%v is less than half of the default, %v: legitimate programs are more likely to be killed", t.set, t.usual))
		}
	}
}
