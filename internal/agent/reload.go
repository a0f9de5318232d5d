package agent

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/shortage"
	"github.com/cryptnono/cryptnono/internal/systemd"
)

// pollInterval is the time between two checks of the files for changes. Changed files are
// read after they are unchanged for this time, so that no file is read while it is being
// written.
const pollInterval = 400 * time.Millisecond

// retryInterval is the time between two attempts to load failed detectors.
const retryInterval = 30 * time.Second

// lackInterval is the pause before a reload is tried again that failed for lack of memory or file
// descriptors: the rules are good, and the lack may pass.
const lackInterval = 10 * time.Second

// A reloader replaces the policy when the files change or the operator requests it.
type reloader struct {
	agent     *Agent
	detectors *detectors

	last    time.Time // of the last load without an error
	refused error     // why the last load was refused, as a whole or in part; nil if it was not
	again   time.Time // when to try again what failed for a lack; zero if nothing did
	read    []string  // the paths of rule files in the settings that were last read, also if they were refused
	state   atomic.Pointer[state]
}

func newReloader(a *Agent, d *detectors) *reloader {
	r := &reloader{agent: a, detectors: d, read: a.Policy.Rules}
	r.loaded(a.Policy.refusal())
	return r
}

// loaded notes the outcome of a load, after which the agent's policy is in effect.
func (r *reloader) loaded(refused error) {
	if r.refused = refused; refused == nil {
		r.last = time.Now()
	}
	r.again = time.Time{}
	if shortage.Is(refused) {
		r.again = time.Now().Add(lackInterval)
	}
	hash, err := r.agent.Policy.hash()
	if err != nil {
		r.agent.Log.Error("computing the hash of settings and rules", "err", err)
	}
	r.state.Store(&state{policy: r.agent.Policy, hash: hash, refused: refused, last: r.last})
}

// ready returns an error with the detectors that have failed, the rule files that are not in effect
// and the rules that the kill limit has stopped, or nil.
func (r *reloader) ready() error {
	return errors.Join(r.detectors.ready(), r.state.Load().policy.refusal(), r.stopped())
}

func (r *reloader) stopped() error {
	names, err := r.detectors.shared.Judge.Limit.Stopped()
	errs := []error{err}
	for _, name := range names {
		errs = append(errs, fmt.Errorf("stopped by the kill limit: %s", name))
	}
	return errors.Join(errs...)
}

// status returns one line for `systemctl status`.
func (r *reloader) status() string {
	status := r.detectors.status()
	if r.agent.Policy.Action == rules.Observe {
		status += "; only observes"
	}
	switch {
	case r.agent.Policy.Refused != nil:
		status += "; not in effect: " + r.refused.Error()
	case r.refused != nil:
		status += "; the last change was refused: " + r.refused.Error()
	}
	return status
}

// start says that the agent is ready and then starts to reload: a reload would change what the status is of, and its
// messages to the service manager come after the first one.
func (r *reloader) start(ctx context.Context, group *errgroup.Group, m systemd.Notifier) {
	m.Ready(r.status())
	group.Go(func() error { return r.run(ctx, group, m) })
}

// run reloads until ctx ends.
func (r *reloader) run(ctx context.Context, group *errgroup.Group, m systemd.Notifier) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	loaded := versions{r.agent.Policy.version, r.agent.Policy.version} // of the files that were last loaded, or refused
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
		now := r.versions()
		settled := now == last
		last = now
		again := !r.again.IsZero() && time.Now().After(r.again)
		if !requested && !again && (!settled || now == loaded) {
			continue
		}
		loaded = now
		m.Reloading()
		if p, ok := r.reload(ctx, group, requested); ok {
			loaded = versions{p.version, p.version}
		} else if p != nil {
			loaded.read = p.version
		}
		m.Ready(r.status())
	}
}

// versions are those of the settings with the rule files of the policy in effect, and with those that the settings
// name that were last read: a file that had a reload refused is to be read again when it is corrected.
type versions struct{ inEffect, read filesVersion }

func (r *reloader) versions() (v versions) {
	v.inEffect = versionOf(slices.Concat(r.agent.Files, r.agent.Policy.Rules))
	if v.read = v.inEffect; !slices.Equal(r.read, r.agent.Policy.Rules) {
		v.read = versionOf(slices.Concat(r.agent.Files, r.read))
	}
	return v
}

// reload reads the files and applies the policy. If that fails, or if a rule file that is in effect
// would be left out, it logs the error, keeps the old policy and returns false. A requested reload also resets the kill limit.
// It returns what was read, nil if the settings could not be.
func (r *reloader) reload(ctx context.Context, group *errgroup.Group, requested bool) (read *Policy, ok bool) {
	began := time.Now()
	defer debug.FreeOSMemory() // else the garbage of this reload adds to that of the next one
	if requested {             // before new rules can use up the limit
		if err := r.detectors.shared.Judge.Limit.Reset(); err != nil {
			r.agent.Log.Error("kill limit not reset", "err", err)
		}
	}
	old := &r.agent.Policy
	p, err := r.agent.Read()
	if err == nil || p.Rules != nil {
		read, r.read = &p, p.Rules
	}
	if err == nil {
		err = errors.Join(p.canReplace(old), p.lost(old))
	}
	if err == nil {
		if err = r.apply(ctx, group, &p); err != nil {
			err = errors.Join(err, r.undo(ctx, group, old))
		}
	}
	if err != nil {
		r.loaded(err)
		r.agent.Log.Error("reload refused, the old settings and rules stay in effect", append([]any{"err", err}, policyAttrs(r, old, began)...)...)
		return read, false
	}
	r.agent.Policy = p
	r.detectors.shared.dropPins(r.detectors.wanted())
	r.agent.Level.Set(p.LogLevel)
	r.detectors.shared.Judge.Evidence.Apply(p.Evidence)
	r.agent.Notifier.Apply(p.Receivers, r.detectors.shared.Log)
	r.loaded(p.refusal())
	p.warn(r.agent.Log)
	r.agent.Log.Info("reloaded", policyAttrs(r, &p, began)...)
	return read, true
}

// apply applies a policy: exemptions and the kill limit before the rules that they limit.
func (r *reloader) apply(ctx context.Context, group *errgroup.Group, p *Policy) error {
	judge := r.detectors.shared.Judge
	if err := errors.Join(judge.Exempt.Apply(p.Exemptions), judge.Limit.Apply(p.killLimit())); err != nil {
		return err
	}
	r.detectors.shared.escalator.Apply(p.Escalation)
	return r.detectors.apply(ctx, group, p)
}

// undo applies the policy before, after an error of apply. It goes on after an error, so that as much as
// possible is what is said to be in effect.
func (r *reloader) undo(ctx context.Context, group *errgroup.Group, old *Policy) error {
	judge := r.detectors.shared.Judge
	err := errors.Join(judge.Exempt.Apply(old.Exemptions), judge.Limit.Apply(old.killLimit()))
	r.detectors.shared.escalator.Apply(old.Escalation)
	return errors.Join(err, r.detectors.undo(ctx, group, old))
}
