package monero

import (
	"context"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
	"github.com/cryptnono/cryptnono/internal/process"
)

// boostStep is for how long one sample in a directed mode raises the rate.
const boostStep = time.Second

// A judge turns samples into findings. It is for one goroutine, and waits for
// nothing: it reads no file, writes no log and asks nobody.
type judge struct {
	policy   *policy
	metrics  *metrics
	suspects *suspects
	booster  booster
	verdicts *verdicts
}

func newJudge(e detector.Env, p *policy, m *metrics) *judge {
	return &judge{
		policy: p, metrics: m, suspects: newSuspects(p.settings.Thresholds),
		booster: booster{log: e.Log}, verdicts: newVerdicts(e, m),
	}
}

// adopt judges by a policy from now on, also those who live by the one before.
func (j *judge) adopt(p *policy) {
	if p == j.policy {
		return
	}
	if p.settings.Thresholds != j.policy.settings.Thresholds {
		j.suspects = newSuspects(p.settings.Thresholds)
	}
	for _, s := range j.suspects.processes.entries {
		s.verdict.reopen()
	}
	j.policy = p
}

// see takes one sample, and hands what it amounts to with those before it to the
// workers.
func (j *judge) see(ctx context.Context, x sample) {
	s := j.suspects.find(x)
	if x.mode != 0 && s.boostable(x.at, j.policy.settings.Thresholds.Window) {
		j.booster.boost(ctx, x.cpu, time.Now().Add(boostStep))
	}
	for _, f := range j.suspects.add(s, x) {
		j.hand(f)
	}
	j.metrics.suspects.Set(float64(len(j.suspects.processes.entries)))
}

// hand gives a finding to the workers, once: a process that lives on is told of
// once, and one that is killed sends some samples more.
func (j *judge) hand(f finding) {
	st := &f.verdict
	now := process.Monotonic()
	if f.decision.Rule <= rounding.Rule(st.told.Load()) || now < time.Duration(st.again.Load()) || !st.pending.CompareAndSwap(false, true) {
		return
	}
	if !j.verdicts.quick.put(job{
		key: f.key, tid: f.tid, owner: f.owner, standing: st,
		decision: f.decision, cgroup: f.cgroup, policy: j.policy,
	}) {
		j.metrics.unreadable.Inc()
		st.retry(now + retryInterval)
	}
}

// sweep forgets what has left the window.
func (j *judge) sweep(now time.Duration) {
	j.suspects.sweep(now)
	j.metrics.suspects.Set(float64(len(j.suspects.processes.entries)))
}
