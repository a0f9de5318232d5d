// Package detector says what a detector is: a source of verdicts that finds
// miners in its own way. Detectors do not know each other; each is loaded, and
// fails, on its own.
package detector

import (
	"context"
	"errors"
	"log/slog"
	"maps"

	"github.com/cilium/ebpf"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/inventory"
	"github.com/cryptnono/cryptnono/internal/pin"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// ErrUnsupported means that this machine lacks what a detector needs. It is not
// errors.ErrUnsupported, which errors such as ENOSYS match as well.
var ErrUnsupported = errors.New("not supported by this machine")

// A Detector is at work from Load to Close.
type Detector interface {
	// Run reports verdicts, and does what needs user space, until ctx ends. It is called
	// once. An error means that the detector cannot continue.
	Run(ctx context.Context) error
	// Apply replaces the policy in one step: each verdict goes by one of them. After an
	// error the old one is still in force.
	Apply(Policy) error
	// Collector returns the detector's metrics. They are there from the start,
	// with value 0.
	Collector() prometheus.Collector
	// Close detaches the detector from the kernel.
	Close() error
}

// A Describer is a detector that works in more than one way, and says how on this kernel.
type Describer interface {
	Describe() (string, error)
}

// An Env is what the agent gives to all detectors.
type Env struct {
	Inventory *inventory.Inventory
	Judge     *verdict.Judge
	Health    *health.Monitor // may be nil
	Pins      *pin.Dir        // keeps what the kernel needs after the end of the agent; may be nil
	Log       *slog.Logger
}

// Maps returns the maps that programs of detectors share which kill in the kernel, by their
// names in bpf/exempt.h and bpf/killlimit.h, for ebpf.CollectionOptions.MapReplacements.
func (e Env) Maps() map[string]*ebpf.Map {
	all := e.Judge.Exempt.Maps()
	maps.Copy(all, e.Judge.Limit.Maps())
	return all
}
