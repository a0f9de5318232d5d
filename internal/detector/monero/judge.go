package monero

import (
	"context"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
	"github.com/cryptnono/cryptnono/internal/process"
)

// raiseStep is for how long a sample in a directed mode raises the sample rate.
const raiseStep = time.Second

// A judge turns samples into jobs for the workers. It is for one goroutine and waits for no
// process: it asks the kernel for the cgroup of one that matches a rule.
type judge struct {
	policy   *policy
	metrics  *metrics
	suspects *suspects
	sampler  sampler
	verdicts *verdicts
}

func newJudge(e detector.Env, p *policy, m *metrics) *judge {
	return &judge{
		policy: p, metrics: m, suspects: newSuspects(p.settings.Thresholds),
		sampler: sampler{log: e.Log}, verdicts: newVerdicts(e, m),
	}
}

// apply makes p the policy in force. Suspects are evaluated again, also those with a verdict.
func (j *judge) apply(p *policy) {
	if p == j.policy {
		return
	}
	if p.settings.Thresholds != j.policy.settings.Thresholds {
		j.suspects = newSuspects(p.settings.Thresholds)
	}
	for _, s := range j.suspects.processes.All() {
		s.verdict.reopen()
	}
	j.policy = p
}

// addSample counts a sample and queues the resulting findings.
func (j *judge) addSample(ctx context.Context, x sample) {
	s := j.suspects.find(x)
	if x.mode != 0 && s.mayRaiseRate(x.at, j.policy.settings.Thresholds.Window) {
		j.sampler.raise(ctx, x.cpu, time.Now().Add(raiseStep))
	}
	for _, f := range j.suspects.add(s, x) {
		j.enqueue(f)
	}
	j.metrics.suspects.Set(float64(j.suspects.processes.Len()))
}

// enqueue queues a finding for the workers, once: a process that is not killed is reported
// once, and a process may give more samples before it is killed.
func (j *judge) enqueue(f finding) {
	st := &f.verdict
	now := process.Monotonic()
	if f.decision.Rule <= rounding.Rule(st.reported.Load()) || now < time.Duration(st.retryAt.Load()) || !st.pending.CompareAndSwap(false, true) {
		return
	}
	owner := "" // it has ended
	if at, err := j.verdicts.Inventory.Locate(f.key.PID); err == nil {
		owner = at.Cgroup.Owner
	}
	if !j.verdicts.quick.Put(job{
		key: f.key, tid: f.tid, uid: f.uid, owner: owner, state: st,
		decision: f.decision, cgroup: f.cgroup, policy: j.policy,
	}) {
		j.metrics.unreadable.Inc()
		st.retry(now + retryInterval)
	}
}

// sweep drops suspects and cgroups without samples in the window.
func (j *judge) sweep(now time.Duration) {
	j.suspects.sweep(now)
	j.metrics.suspects.Set(float64(j.suspects.processes.Len()))
}
