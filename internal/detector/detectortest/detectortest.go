// Package detectortest gives tests what the agent gives to detectors.
package detectortest

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"testing"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/container"
	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/inventory"
	"github.com/cryptnono/cryptnono/internal/killlimit"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// Options are what may be different from an agent without settings and without runtimes.
type Options struct {
	Exemptions exempt.Rules
	Containers exempt.Containers
	Log        *slog.Logger // of verdicts too
}

// Env loads what detectors share, until the test ends. It needs root.
func Env(t testing.TB, o Options) detector.Env {
	t.Helper()
	testutil.Privileged(t)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Containers == nil {
		o.Containers = NoRuntime{}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.Open("/")
	must(err)
	inv, err := inventory.Load(cgroup.Parser{})
	must(err)
	limit, err := killlimit.Load(killlimit.Limits{}, o.Log)
	must(err)
	checker, err := exempt.Load(exempt.Options{Rules: o.Exemptions, Inventory: inv, Containers: o.Containers, Root: root, Log: o.Log})
	must(err)
	reader := procread.NewReader(o.Log)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- checker.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, checker.Close(), limit.Close(), inv.Close(), root.Close(), reader.Close()); err != nil {
			t.Error(err)
		}
	})
	judge := &verdict.Judge{Exempt: checker, Limit: limit, Report: report.New(o.Log, "", nil), Reader: reader, Log: o.Log}
	return detector.Env{Inventory: inv, Judge: judge, Log: o.Log}
}

// Run runs a detector until the test ends. What was to be cleaned up before Run, such as the
// detector itself, is cleaned up after it.
func Run(t testing.TB, d detector.Detector) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// NoRuntime knows no container.
type NoRuntime struct{}

// Lookup implements exempt.Containers.
func (NoRuntime) Lookup(context.Context, cgroup.ContainerRef) (*container.Container, error) {
	return nil, container.ErrNotContainer
}
