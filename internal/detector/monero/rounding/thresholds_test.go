package rounding

import (
	"math"
	"strings"
	"testing"
)

func TestDefaultsAreValid(t *testing.T) {
	if err := Defaults().Validate(); err != nil {
		t.Error(err)
	}
}

func TestThresholdsWithoutSenseAreNamed(t *testing.T) {
	for name, spoil := range map[string]func(*Thresholds){
		"Window":       func(t *Thresholds) { t.Window = 0 },
		"Spacing":      func(t *Thresholds) { t.Spacing = -1 },
		"MaxThreads":   func(t *Thresholds) { t.MaxThreads = 0 },
		"MinSamples":   func(t *Thresholds) { t.MinSamples = -64 },
		"MinDirected":  func(t *Thresholds) { t.MinDirected = 50 },
		"MinJIT":       func(t *Thresholds) { t.MinJIT = math.NaN() },
		"PairSpacing":  func(t *Thresholds) { t.PairSpacing = ms },
		"MaxPairGap":   func(t *Thresholds) { t.MaxPairGap = -1 },
		"MinPairs":     func(t *Thresholds) { t.MinPairs = 0 },
		"MinPairsSum":  func(t *Thresholds) { t.MinPairsSum = 1 },
		"MinEachMode":  func(t *Thresholds) { t.MinEachMode = -1 },
		"MinNearest":   func(t *Thresholds) { t.MinNearest = 2 },
		"MaxNearest":   func(t *Thresholds) { t.MaxNearest = math.Inf(1) },
		"MaxUneven":    func(t *Thresholds) { t.MaxUneven = 0 },
		"MaxDependent": func(t *Thresholds) { t.MaxDependent = math.NaN() },
		"MaxHeld":      func(t *Thresholds) { t.MaxHeld = 65 },
	} {
		thresholds := Defaults()
		spoil(&thresholds)
		if err := thresholds.Validate(); err == nil || !strings.HasPrefix(err.Error(), name+" is ") {
			t.Errorf("spoilt %s: %v", name, err)
		}
	}
}
