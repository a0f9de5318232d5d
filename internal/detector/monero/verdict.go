package monero

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
	"github.com/cryptnono/cryptnono/internal/fair"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

const (
	// A quick worker tries a verdict first. If the process or the container runtime does not
	// answer within quickTime, a patient worker tries again, so that a slow process does not
	// delay the verdicts on others.
	quickWorkers, patientWorkers = 8, 4
	quickTime, patientTime       = 300 * time.Millisecond, 5 * time.Second
	// retryInterval is the time after which a failed verdict, or one that the kill limit
	// prevented, is retried.
	retryInterval = 10 * time.Second
	// warnInterval is the minimum time between two warnings about failed verdicts for an
	// owner.
	warnInterval = time.Minute
	maxWarned    = 256 // owners
)

// verdicts are the workers that carry out verdicts.
type verdicts struct {
	detector.Env
	metrics        *metrics
	quick, patient *fair.Queue[job]

	mu         sync.Mutex
	lastWarned map[string]time.Duration
}

func newVerdicts(e detector.Env, m *metrics) *verdicts {
	return &verdicts{
		Env: e, metrics: m,
		quick: fair.NewQueue[job](), patient: fair.NewQueue[job](),
		lastWarned: make(map[string]time.Duration),
	}
}

// run works until ctx ends.
func (v *verdicts) run(ctx context.Context) error {
	var workers sync.WaitGroup
	for range quickWorkers {
		workers.Go(func() { v.work(ctx, v.quick, quickTime) })
	}
	for range patientWorkers {
		workers.Go(func() { v.work(ctx, v.patient, patientTime) })
	}
	workers.Wait()
	return nil
}

func (v *verdicts) work(ctx context.Context, q *fair.Queue[job], limit time.Duration) {
	for {
		j, ok := q.Take(ctx)
		if !ok {
			return
		}
		v.attempt(ctx, j, limit)
		q.Done(j)
	}
}

// attempt carries out the verdict of a job. If that fails, it passes the job to a patient
// worker or leaves it to a later sample.
func (v *verdicts) attempt(ctx context.Context, j job, limit time.Duration) {
	limited, cancel := context.WithTimeout(ctx, limit)
	err := v.decide(limited, j, limit == patientTime)
	cancel()
	now := process.Monotonic()
	switch {
	case err == nil:
		j.state.settle(j.decision.Rule)
	case errors.Is(err, process.ErrGone):
		v.missed(j)
		j.state.settle(j.decision.Rule)
	case errors.Is(err, errAgain):
		j.state.retry(now + retryInterval)
	case ctx.Err() != nil:
		j.state.retry(0)
	case limit != patientTime && v.patient.Put(j):
	default:
		v.metrics.unreadable.Inc()
		v.warn(j, err)
		j.state.retry(now + retryInterval)
	}
}

// errAgain is returned for a verdict that is complete but must be repeated later.
var errAgain = errors.New("to be judged again")

// decide kills a process, or reports why it does not. The error is process.ErrGone,
// errAgain, or one after which the verdict may be retried.
func (v *verdicts) decide(ctx context.Context, j job, last bool) error {
	h, err := j.key.Open()
	if err != nil {
		return err
	}
	defer h.Close()
	if h.Protected() != nil {
		return nil
	}
	p, err := v.Judge.Reader.Read(ctx, h, j.owner)
	if errors.Is(err, procread.ErrStuck) && last && !errors.Is(ctx.Err(), context.Canceled) { // only the arguments are missing
		err = nil
	}
	if err != nil {
		return err
	}
	u, err := readUsage(h, j.key, j.tid)
	if err != nil {
		return err
	}
	at, err := v.Inventory.Locate(p.PID)
	if err != nil {
		return err
	}
	l := newLine(j)
	addProcess(&l, p, u)
	suspect := verdict.Suspect{
		Event: at, Handle: h, Programs: p.Paths(), Observe: !j.wouldKill(u), LogEnv: j.policy.LogEnv,
		Line: l, Confirm: func() error { return v.Inventory.Executes(j.key) },
	}
	if suspect.Observe && j.policy.kills() {
		suspect.Observe, suspect.Likely = false, verdict.Sign{Kind: verdict.Computes, Text: Name + ": " + j.decision.Rule.String()}
	}
	if allow := j.policy.Matcher.Allowed([]byte(p.Program), p.Args); allow != nil {
		suspect.AllowedBy = allow.Origin.String()
	}
	did, err := v.Judge.Decide(ctx, suspect, v.metrics.tally(j.decision.Rule))
	if err == nil && did == verdict.Limited {
		return errAgain // until the kill limit is reset
	}
	return err
}

// wouldKill reports whether a process with this usage is killed if it is neither exempt nor
// allowed.
func (j job) wouldKill(u usage) bool {
	return j.policy.kills() && (j.decision.Rule == rounding.JIT || j.policy.settings.KillWithoutMemoryEvidence || u.enoughToMine())
}

// missed reports a process that ended before it could be killed.
func (v *verdicts) missed(j job) {
	if !j.wouldKill(usage{}) {
		return
	}
	l := newLine(j)
	addProcess(&l, process.Info{}, usage{})
	v.Judge.Record(verdict.Missed, process.Event{Who: process.Who{PID: j.key.PID, UID: j.uid}}, l, v.metrics.tally(j.decision.Rule))
}

// warn logs a failed verdict, at most once in warnInterval for each owner.
func (v *verdicts) warn(j job, err error) {
	now := process.Monotonic()
	v.mu.Lock()
	last, known := v.lastWarned[j.owner]
	due := !known || now-last >= warnInterval
	if due {
		if len(v.lastWarned) >= maxWarned {
			clear(v.lastWarned)
		}
		v.lastWarned[j.owner] = now
	}
	v.mu.Unlock()
	if due {
		v.Log.Warn("process not judged, will retry", "detector", Name,
			"pid", j.key.PID, "uid", j.uid, "err", fmt.Errorf("%s: %w", j.decision.Rule, err))
	}
}
