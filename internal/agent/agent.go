// Package agent connects the components of the agent: rules, detectors, reloads, HTTP
// endpoints and shutdown.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/endpoint"
	"github.com/cryptnono/cryptnono/internal/escalate"
	"github.com/cryptnono/cryptnono/internal/evidence"
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/host"
	"github.com/cryptnono/cryptnono/internal/inventory"
	"github.com/cryptnono/cryptnono/internal/killlimit"
	"github.com/cryptnono/cryptnono/internal/notify"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/runtimes"
	"github.com/cryptnono/cryptnono/internal/systemd"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// An Agent runs the detectors.
type Agent struct {
	Kinds  []detector.Kind // all detectors
	Policy Policy          // the active one; a reload replaces it
	// Read reads the policy from its files again.
	Read func() (Policy, error)
	// Files are the settings files that Read reads. The policy names the rule files.
	Files []string
	// Reload receives a value when the operator requests a reload.
	Reload  <-chan struct{}
	Version string
	Log     *slog.Logger
	Level   *slog.LevelVar // of Log
	// Verdicts logs verdicts, independent of Level.
	Verdicts *slog.Logger
	// Notifier sends what Verdicts logs to the policy's receivers.
	Notifier *notify.Notifier
	// Execs logs what gives way to verdicts: evidence about containers and, if the policy has the
	// level debug, each program that starts.
	Execs *slog.Logger
	// Output is the writer of these loggers.
	Output *report.Writer
}

// shared is what all detectors use.
type shared struct {
	detector.Env
	root       *os.File // the host's root directory
	containers *runtimes.Resolver
	escalator  *escalate.Escalator
}

// memoryGoal is the soft memory limit of the Go runtime in bytes. With it and the maps in
// the kernel, a reload of the largest rules stays within the chart's limit of 512 MiB.
const memoryGoal = 288 << 20

// load loads what all detectors use. Close the detectors before it.
func (a *Agent) load(log *slog.Logger) (_ *shared, err error) {
	s, err := a.open(log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	p, judge := &a.Policy, s.Judge
	judge.Report = report.New(a.Verdicts, p.NodeName, s.containers)
	judge.Evidence = evidence.New(judge.Reader, s.Inventory, p.Evidence)
	if judge.Limit, err = killlimit.Load(p.killLimit(), log); err != nil {
		return nil, err
	}
	judge.Exempt, err = exempt.Load(exempt.Options{
		Rules: p.Exemptions, Inventory: s.Inventory, Containers: s.containers, Root: s.root, Health: s.Health, Log: log,
	})
	if err != nil {
		return nil, err
	}
	s.escalator, err = escalate.New(escalate.Options{Settings: p.Escalation, Judge: judge, Inventory: s.Inventory, Containers: s.containers, Log: log})
	return s, err
}

// open loads what is needed to see processes and their containers.
func (a *Agent) open(log *slog.Logger) (_ *shared, err error) {
	// Before Linux 5.11, BPF maps count as locked memory.
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("raising the limit of locked memory: %w", err)
	}
	if debug.SetMemoryLimit(-1) == math.MaxInt64 { // GOMEMLIMIT is not set
		debug.SetMemoryLimit(memoryGoal)
	}
	p := &a.Policy
	judge := &verdict.Judge{Reader: procread.NewReader(log), Log: log}
	s := &shared{Env: detector.Env{Judge: judge, Health: health.NewMonitor(log), Log: log}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.root, err = host.Root(); err != nil {
		return nil, err
	}
	hostSockets, nested := sockets(p.Containers)
	s.containers = runtimes.NewResolver(runtimes.Options{
		Sockets:       hostSockets,
		NestedSockets: nested,
		Annotations:   p.Annotations,
		Root:          fmt.Sprintf("/proc/self/fd/%d", s.root.Fd()),
		Log:           log,
	})
	s.Inventory, err = inventory.Load(cgroup.NewParser(p.Containers.CgroupRoot))
	return s, err
}

// startReports starts the reporter. end stops it and waits until all lines are written.
// The end of ctx does not stop it, so that verdicts during shutdown are logged.
func (s *shared) startReports(ctx context.Context) (end func() error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	written := make(chan error, 1)
	go func() { written <- s.Judge.Report.Run(ctx, s.Health.Loop("reporter", health.DefaultLimit)) }()
	return func() error {
		cancel()
		return <-written
	}
}

// close closes what load has loaded, also after an error of load.
func (s *shared) close() error {
	var errs []error
	if s.escalator != nil {
		errs = append(errs, s.escalator.Close())
	}
	if s.Judge.Exempt != nil {
		errs = append(errs, s.Judge.Exempt.Close())
	}
	if s.Judge.Limit != nil {
		errs = append(errs, s.Judge.Limit.Close())
	}
	if s.Inventory != nil {
		errs = append(errs, s.Inventory.Close())
	}
	if s.containers != nil {
		errs = append(errs, s.containers.Close())
	}
	if s.root != nil {
		errs = append(errs, s.root.Close())
	}
	errs = append(errs, s.Pins.Close()) // last: another agent may wait for it
	return errors.Join(append(errs, s.Judge.Reader.Close())...)
}

// run classifies cgroups, watches the kill limit and takes steps of escalations until ctx ends.
func (s *shared) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.Judge.Exempt.Run(ctx) })
	group.Go(func() error { return s.Judge.Limit.Run(ctx, s.Health) })
	group.Go(func() error { return s.escalator.Run(ctx, s.Health) })
	return group.Wait()
}

// Run protects the machine until ctx ends or no detector is running. Before it returns,
// it detaches all BPF programs that are not pinned.
func (a *Agent) Run(ctx context.Context) (err error) {
	started := time.Now()
	var listener net.Listener
	if a.Policy.Listen != "" {
		listener, err = endpoint.Listen(a.Policy.Listen)
		switch {
		case errors.Is(err, syscall.EADDRINUSE): // another process must not be able to prevent protection
			a.Log.Error("address in use, retrying until it is free", "listen", a.Policy.Listen, "err", err)
		case err != nil:
			return err
		default:
			defer listener.Close() // for errors before the server is started
		}
	}
	lines := report.NewLines(a.Log)
	s, err := a.load(lines.Logger())
	if err != nil {
		return err
	}
	a.Notifier.Apply(a.Policy.Receivers, s.Log)
	s.Judge.Report.Limit(lines)
	s.Judge.Report.LogExecs(a.Execs)
	defer func() { err = errors.Join(err, s.close()) }()
	endReports := s.startReports(ctx)
	defer func() { err = errors.Join(err, endReports()) }()

	group, ctx := errgroup.WithContext(ctx)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	group.Go(func() error {
		if err := s.run(ctx); err != nil && ctx.Err() == nil {
			s.Log.Error("exemptions or kill limit ended", "err", err)
			s.Health.SetFailed(fmt.Errorf("exemptions or kill limit: %w", err)) // cannot be restarted in this process
		}
		return nil
	})
	drop := unneeded(a.Kinds, func(name string) bool { return a.Policy.Detectors[name].IsEnabled() })
	if err := dropCapabilities(drop, s.Log); err != nil {
		s.Log.Warn("capabilities that no enabled detector needs are kept", "err", err)
	}
	s.openPins(ctx, a.Policy.Pins, a.Version)
	d := newDetectors(a.Kinds, s)
	defer func() {
		stop()
		err = errors.Join(d.close(), err)
	}()
	if err := d.apply(ctx, group, &a.Policy); err != nil {
		stop()
		return errors.Join(err, group.Wait())
	}
	s.dropPins(d.wanted())
	r := newReloader(a, d)
	manager := systemd.Notifier{Log: a.Log}
	group.Go(func() error { return manager.Watch(ctx, s.Health.Check) })
	address := "" // with the actual port, if the setting is port 0
	if a.Policy.Listen != "" {
		e := endpoint.Server{Address: a.Policy.Listen, TokenFile: a.Policy.ListenTokenFile, Log: s.Log, Healthy: s.Health.Check, Ready: r.ready, Metrics: a.registry(d, r)}
		group.Go(func() error { e.Serve(ctx, listener); return nil })
	}
	if listener != nil {
		address = listener.Addr().String()
	}
	a.Policy.warn(a.Log)
	a.Log.Info("ready", append([]any{"version", a.Version, "listen", address}, policyAttrs(r, &a.Policy, started)...)...)
	r.start(ctx, group, manager)
	debug.FreeOSMemory() // reading and compiling leave much garbage
	err = group.Wait()
	manager.Stopping()
	a.Log.Info("stopped")
	return err
}

// policyAttrs returns the active policy as key-value pairs for the log.
func policyAttrs(r *reloader, p *Policy, began time.Time) []any {
	set := &p.Matcher.Set
	detectors := r.detectors.names()
	attrs := []any{"detectors", detectors, "action", p.Action}
	if others := p.otherActions(detectors); len(others) > 0 {
		attrs = append(attrs, "detector_actions", others)
	}
	return append(attrs,
		"bans", len(set.Bans), "banned_addresses", len(set.Addresses), "banned_names", len(set.Names), "allow_patterns", len(set.Allowed), "hash", r.state.Load().hash,
		"after_seconds", time.Since(began).Seconds())
}
