// Package agent puts the parts together: rules, detectors, the HTTP endpoints,
// and an orderly end.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/config"
	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// An Agent is what one run of the program needs.
type Agent struct {
	Config  config.Config
	Matcher *match.Matcher // Compile(Config)
	Version string
	Log     *slog.Logger
	Report  *report.Reporter
}

// Run protects the machine until ctx ends or a detector fails. It has detached
// everything from the kernel when it returns.
func (a *Agent) Run(ctx context.Context) (err error) {
	started := time.Now()
	var listener net.Listener
	if a.Config.Listen != "" {
		if listener, err = net.Listen("tcp", a.Config.Listen); err != nil {
			return fmt.Errorf("listening for metrics: %w", err)
		}
		defer listener.Close() // the server closes it before, if it is reached
	}

	detectors, err := a.load()
	defer func() {
		for _, d := range detectors {
			err = errors.Join(err, d.Close())
		}
	}()
	if err != nil {
		return err
	}
	address := "" // with the port, where any free one was asked for
	g, ctx := errgroup.WithContext(ctx)
	for _, d := range detectors {
		g.Go(func() error { return d.Run(ctx) })
	}
	registry := a.registry(detectors)
	manager := serviceManager{a.Log}
	// The page of metrics asks each detector and each kernel program.
	g.Go(func() error {
		return manager.watch(ctx, func() error { _, err := registry.Gather(); return err })
	})
	if listener != nil {
		g.Go(func() error { return serve(ctx, listener, registry) })
		address = listener.Addr().String()
	}
	a.Log.Info("ready", "version", a.Version, "detectors", names(detectors), "action", a.Config.Action, "listen", address,
		"bans", len(a.Matcher.Set.Bans), "allow_patterns", len(a.Matcher.Set.Allowed), "after_seconds", time.Since(started).Seconds())
	manager.ready("protects with " + strings.Join(names(detectors), ", "))
	err = g.Wait()
	manager.stopping()
	a.Log.Info("stopped")
	return err
}

// Compile reads the rules that a configuration names and compiles them.
func Compile(c config.Config) (*match.Matcher, error) {
	set, err := rules.Load(c.Rules)
	if err != nil {
		return nil, err
	}
	if c.BuiltinRules {
		b := rules.Builtin()
		set.Bans = append(b.Bans, set.Bans...)
		set.Allowed = append(b.Allowed, set.Allowed...)
	}
	if c.Action == rules.Observe {
		for i := range set.Bans {
			set.Bans[i].Action = rules.Observe
		}
	}
	return match.Compile(set)
}

// load loads the detectors that are enabled. One that this machine cannot run
// is left out with a warning, unless it is the last.
func (a *Agent) load() (map[string]detector.Detector, error) {
	// Maps count as locked memory before Linux 5.11.
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("raising the limit of locked memory: %w", err)
	}
	loaded := make(map[string]detector.Detector)
	var unsupported error
	for _, s := range a.Sources() {
		if !s.enabled {
			continue
		}
		d, err := s.load()
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			a.Log.Warn("detector not supported here", "detector", s.Name, "err", err)
			unsupported = errors.Join(unsupported, err)
		case err != nil:
			return loaded, err
		default:
			loaded[s.Name] = d
		}
	}
	if len(loaded) == 0 {
		return nil, errors.Join(errors.New("no detector is at work"), unsupported)
	}
	return loaded, nil
}
