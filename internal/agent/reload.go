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

// lookInterval is the time between two looks at the files. They must look the same
// twice before they are read, so that none is read while it is being written.
const lookInterval = 400 * time.Millisecond

// retryInterval is the time between two attempts to load detectors that have failed.
const retryInterval = 30 * time.Second

// A reloader puts another policy in place when the files change, or when the
// operator asks for it.
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
		success: gauge("reload_success", "Whether the settings and rules, as they are in their files now, are in force."),
		last:    gauge("last_reload_success_timestamp_seconds", "When settings and rules were last put in force."),
	}
	r.success.Set(1)
	r.last.SetToCurrentTime()
	return r
}

// run reloads until ctx ends.
func (r *reloader) run(ctx context.Context, group *errgroup.Group, m systemd.Notifier) error {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	inForce := r.agent.Policy.seen
	last := inForce
	retry := time.NewTicker(retryInterval)
	defer retry.Stop()
	for {
		asked := false
		select {
		case <-ctx.Done():
			return nil
		case <-retry.C:
			r.detectors.reload(ctx, group, &r.agent.Policy)
		case <-r.agent.Reload:
			asked = true
		case <-tick.C:
		}
		now := r.look()
		settled := now == last
		last = now
		if !asked && (!settled || now == inForce) {
			continue
		}
		inForce = now
		m.Reloading()
		if r.reload(ctx, group, asked) {
			inForce = r.agent.Policy.seen
		}
		m.Ready(r.detectors.status())
	}
}

func (r *reloader) look() fingerprint {
	return look(slices.Concat(r.agent.Files, r.agent.Policy.Rules))
}

// reload reads the files and puts them in force, or leaves all as it is, says why, and
// returns false. If it was asked for, the kill limit is reset as well.
func (r *reloader) reload(ctx context.Context, group *errgroup.Group, asked bool) bool {
	began := time.Now()
	defer debug.FreeOSMemory() // what is left of reading would lie there until the next reload, beside that one's
	p, err := r.agent.Read()
	if err == nil {
		err = p.mayFollow(&r.agent.Policy)
	}
	if err == nil {
		if err = r.apply(ctx, group, &p); err != nil {
			err = errors.Join(err, r.apply(ctx, group, &r.agent.Policy)) // no half of it
		}
	}
	if asked {
		err = errors.Join(err, r.detectors.shared.Judge.Limit.Reset())
	}
	if err != nil {
		r.success.Set(0)
		r.agent.Log.Error("reload refused, the old settings and rules stay in force", "err", err)
		return false
	}
	r.agent.Policy = p
	r.agent.Level.Set(p.LogLevel)
	r.success.Set(1)
	r.last.SetToCurrentTime()
	p.warn(r.agent.Log)
	r.agent.Log.Info("reloaded", describe(r.detectors, &p, began)...)
	return true
}

// apply puts a policy in force: exemptions before the rules that they are from.
func (r *reloader) apply(ctx context.Context, group *errgroup.Group, p *Policy) error {
	judge := r.detectors.shared.Judge
	if err := errors.Join(judge.Exempt.Apply(p.Exemptions), judge.Limit.Apply(p.KillLimit)); err != nil {
		return err
	}
	return r.detectors.apply(ctx, group, p)
}
