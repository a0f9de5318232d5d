package monero

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestTheDefaultSettingsAreValid(t *testing.T) {
	if err := Defaults().Table().Validate(); err != nil {
		t.Error(err)
	}
}

func TestAnErrorNamesTheInvalidSetting(t *testing.T) {
	for key, spoil := range map[string]func(*Settings){
		"action":                 func(s *Settings) { s.Action = "" },
		"thresholds.window":      func(s *Settings) { s.Thresholds.Window = 25 * time.Hour },
		"thresholds.maxThreads":  func(s *Settings) { s.Thresholds.MaxThreads = 0 },
		"thresholds.minSamples":  func(s *Settings) { s.Thresholds.MinSamples = -64 },
		"thresholds.minDirected": func(s *Settings) { s.Thresholds.MinDirected = math.NaN() },
		"thresholds.minPairs":    func(s *Settings) { s.Thresholds.MinPairs = 0 },
	} {
		s := Defaults()
		spoil(s)
		if err := s.Table().Validate(); err == nil || !strings.HasPrefix(err.Error(), key+": ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", key, err)
		}
	}
}
