package agent

import (
	"context"
	"errors"
	"runtime/debug"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/systemd"
)

// pollInterval is the time between two checks of the files for changes. Changed files are
// read after they are unchanged for this time, so that no file is read while it is being
// written.
const pollInterval = 400 * time.Millisecond

// retryInterval is the time between two attempts to load failed detectors.
const retryInterval = 30 * time.Second

// A reloader replaces the policy when the files change or the operator requests it.
type reloader struct {
	agent     *Agent
	detectors *detectors

	success prometheus.Gauge
	last    prometheus.Gauge
}

func newReloader(a *Agent, d *detectors) *reloader {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "cryptnono_config_" + name, Help: help})
	}
	r := &reloader{
		agent: a, detectors: d,
		success: gauge("reload_success", "1 if the last load of settings and rules succeeded, else 0."),
		last:    gauge("last_reload_success_timestamp_seconds", "Time of the last successful load of settings and rules."),
	}
	r.success.Set(1)
	r.last.SetToCurrentTime()
	return r
}

// run reloads until ctx ends.
func (r *reloader) run(ctx context.Context, group *errgroup.Group, m systemd.Notifier) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	loaded := r.agent.Policy.version // of the files that were last loaded, or refused
	last := loaded
	retry := time.NewTicker(retryInterval)
	defer retry.Stop()
	for {
		requested := false
		select {
		case <-ctx.Done():
			return nil
		case <-retry.C:
			r.detectors.reload(ctx, group, &r.agent.Policy)
		case <-r.agent.Reload:
			requested = true
		case <-tick.C:
		}
		now := r.filesVersion()
		settled := now == last
		last = now
		if !requested && (!settled || now == loaded) {
			continue
		}
		loaded = now
		m.Reloading()
		if r.reload(ctx, group, requested) {
			loaded = r.agent.Policy.version
		}
		m.Ready(r.detectors.status())
	}
}

func (r *reloader) filesVersion() filesVersion {
	return versionOf(slices.Concat(r.agent.Files, r.agent.Policy.Rules))
}

// reload reads the files and applies the policy. If that fails, it logs the error, keeps
// the old policy and returns false. A requested reload also resets the kill limit.
func (r *reloader) reload(ctx context.Context, group *errgroup.Group, requested bool) bool {
	began := time.Now()
	defer debug.FreeOSMemory() // else the garbage of this reload adds to that of the next one
	var resetErr error
	if requested { // before new rules can use up the limit
		resetErr = r.detectors.shared.Judge.Limit.Reset()
	}
	p, err := r.agent.Read()
	if err == nil {
		err = p.canReplace(&r.agent.Policy)
	}
	if err == nil {
		if err = r.apply(ctx, group, &p); err != nil {
			err = errors.Join(err, r.apply(ctx, group, &r.agent.Policy)) // undo what was applied
		}
	}
	if err = errors.Join(err, resetErr); err != nil {
		r.success.Set(0)
		r.agent.Log.Error("reload refused, the old settings and rules stay in effect", "err", err)
		return false
	}
	r.agent.Policy = p
	r.detectors.shared.dropPins(r.detectors.wanted())
	r.agent.Level.Set(p.LogLevel)
	r.success.Set(1)
	r.last.SetToCurrentTime()
	p.warn(r.agent.Log)
	r.agent.Log.Info("reloaded", policyAttrs(r.detectors, &p, began)...)
	return true
}

// apply applies a policy: exemptions and the kill limit before the rules that they limit.
func (r *reloader) apply(ctx context.Context, group *errgroup.Group, p *Policy) error {
	judge := r.detectors.shared.Judge
	if err := errors.Join(judge.Exempt.Apply(p.Exemptions), judge.Limit.Apply(p.KillLimit)); err != nil {
		return err
	}
	return r.detectors.apply(ctx, group, p)
}
