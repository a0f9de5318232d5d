// Package detector says what a detector is: a source of verdicts that finds
// miners in its own way. Detectors do not know each other; each is loaded, and
// fails, on its own.
package detector

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

// A Detector is loaded and at work from its making until Close.
type Detector interface {
	// Run reports verdicts, and does what needs user space, until ctx ends. An
	// error says that the detector can do its work no more.
	Run(ctx context.Context) error
	// Collector returns the detector's metrics. They are there from the start,
	// with value 0.
	Collector() prometheus.Collector
	// Close detaches the detector from the kernel.
	Close() error
}
