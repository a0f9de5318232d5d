// Package detectors has the list of the detectors. Settings, their documentation and the
// chart's values follow from it.
package detectors

import (
	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/execwhacker"
	"github.com/cryptnono/cryptnono/internal/detector/hashwork"
	"github.com/cryptnono/cryptnono/internal/detector/monero"
	"github.com/cryptnono/cryptnono/internal/detector/tcpflowkiller"
)

// All returns all detectors.
func All() []detector.Kind {
	return []detector.Kind{
		execwhacker.Kind(),
		monero.Kind(),
		tcpflowkiller.Kind(),
		hashwork.Kind(),
	}
}
