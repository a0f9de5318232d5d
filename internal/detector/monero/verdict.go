package monero

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
	"github.com/cryptnono/cryptnono/internal/guard"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/report"
)

const (
	// A verdict is tried by a quick worker first. Where the process or the container
	// runtime keeps it waiting, a patient one tries again, so that nobody else
	// waits.
	quickWorkers, patientWorkers = 8, 4
	quickTime, patientTime       = 300 * time.Millisecond, 5 * time.Second
	// retryInterval is the time until a process is judged again that could not be,
	// or that the brake spared.
	retryInterval = 10 * time.Second
	// staleAfter is how old the newest sample may be when a process is killed: one
	// that gave none since may execute another program by now.
	staleAfter = 2 * time.Second
	// complaintInterval is the time between two lines about processes of one owner
	// that could not be judged.
	complaintInterval = time.Minute
	maxComplaints     = 256 // owners
)

// verdicts are made by workers, which act on findings.
type verdicts struct {
	guard          *guard.Guard
	report         *report.Reporter
	reader         *process.Reader
	log            *slog.Logger
	metrics        *metrics
	quick, patient *queue

	mu         sync.Mutex
	complained map[owner]time.Duration
}

func newVerdicts(o Options, m *metrics) *verdicts {
	return &verdicts{
		guard: o.Guard, report: o.Report, reader: o.Reader, log: o.Log, metrics: m,
		quick: newQueue(quickWorkers), patient: newQueue(patientWorkers),
		complained: make(map[owner]time.Duration),
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

func (v *verdicts) work(ctx context.Context, q *queue, limit time.Duration) {
	for {
		j, ok := q.take(ctx)
		if !ok {
			return
		}
		v.attempt(ctx, j, limit)
		q.done(j)
	}
}

// attempt makes the verdict of a job, or leaves it to a patient worker or to a
// later sample.
func (v *verdicts) attempt(ctx context.Context, j job, limit time.Duration) {
	limited, cancel := context.WithTimeout(ctx, limit)
	err := v.decide(limited, j, limit == patientTime)
	cancel()
	now := process.Monotonic()
	switch {
	case err == nil:
		j.standing.settle(j.decision.Rule)
	case errors.Is(err, process.ErrGone):
		v.missed(j)
		j.standing.settle(j.decision.Rule)
	case errors.Is(err, errAgain):
		j.standing.retry(now + retryInterval)
	case errors.Is(err, errStale), ctx.Err() != nil:
		j.standing.retry(0)
	case limit != patientTime && v.patient.put(j):
	default:
		v.metrics.unreadable.Inc()
		v.complain(j, err)
		j.standing.retry(now + retryInterval)
	}
}

var (
	// errAgain says that the verdict stands, and is to be made again.
	errAgain = errors.New("to be judged again")
	// errStale says that the samples are too old to act upon.
	errStale = errors.New("no sample of late")
)

// stale reports whether a suspect gave no sample lately. Samples are of one program: it
// is then not known that the process still executes it.
func (s *standing) stale() bool {
	return process.Monotonic()-time.Duration(s.fresh.Load()) > staleAfter
}

// decide kills a process, or reports why it does not. An error says that this could
// not be found out: process.ErrGone, errAgain, errStale, or that it may be tried again.
func (v *verdicts) decide(ctx context.Context, j job, last bool) error {
	h, err := j.key.open()
	if err != nil {
		return err
	}
	defer h.Close()
	if h.Protected() != nil {
		return nil
	}
	p, err := v.reader.Read(ctx, h, j.owner.String())
	if errors.Is(err, process.ErrStuck) && last { // but for the arguments all is known
		err = nil
	}
	if err != nil {
		return err
	}
	u, err := readUsage(h, j.key, j.tid)
	if err != nil {
		return err
	}
	l := line(j)
	describe(&l, j, p, u)
	if err := v.act(ctx, &l, j, h, p, u); err != nil {
		return err
	}
	v.report.Report(l)
	if l.Braked {
		return errAgain // to be killed when the brake lets go
	}
	return nil
}

// act kills a process, unless it must be spared or only observed, and says so. The
// error says that this could not be found out.
func (v *verdicts) act(ctx context.Context, l *report.Verdict, j job, h *process.Handle, p process.Info, u usage) error {
	at, err := v.guard.Locate(p.PID)
	if err != nil {
		return err
	}
	exemption, err := v.guard.Exempt(ctx, at, p.Program)
	if err != nil {
		return err
	}
	if l.Env, err = v.reader.Environ(ctx, h, j.owner.String(), j.policy.LogEnv); err != nil {
		v.log.Debug("environment not read", "detector", Name, "err", err)
	}
	if j.standing.stale() { // after all that may take time
		return errStale
	}
	l.Cgroup = at.Cgroup.Path()
	rule := j.decision.Rule.String()
	allow := j.policy.Matcher.Allowed([]byte(p.Program), p.Args)
	switch {
	case allow != nil:
		l.Action, l.Allowed = report.Spared, allow.Origin.String()
		v.metrics.spared.WithLabelValues(rule).Inc()
	case exemption != "":
		l.Action, l.Allowed = report.Spared, exemption
		v.metrics.exempt.WithLabelValues(rule).Inc()
	case !j.wouldKill(u):
		l.Action = report.Observed
		v.metrics.observed.WithLabelValues(rule).Inc()
	default:
		v.kill(l, rule, h, at.Cgroup)
	}
	return nil
}

// kill kills a process unless the brake withholds that, and says what was done.
func (v *verdicts) kill(l *report.Verdict, rule string, h *process.Handle, at process.Cgroup) {
	err := v.guard.Kill(h, at)
	switch {
	case err == nil:
		l.Action = report.Killed
		v.metrics.killed.WithLabelValues(rule).Inc()
		return
	case errors.Is(err, guard.ErrBraked):
		l.Action, l.Braked = report.Observed, true
		v.metrics.withheld.WithLabelValues(rule).Inc()
		return
	case errors.Is(err, process.ErrGone):
		l.Action = report.MissedKill
	default:
		l.Action = report.KillFailed
		v.log.Error("process not killed", "detector", Name, "err", err)
	}
	v.metrics.missed.Inc()
}

// wouldKill reports whether a process is killed that is not spared.
func (j job) wouldKill(u usage) bool {
	return j.policy.Kill && (j.decision.Rule == rounding.JIT || j.policy.KillWithoutMemoryEvidence || u.ofRandomX())
}

// missed reports that a process has ended that was to be killed.
func (v *verdicts) missed(j job) {
	if !j.wouldKill(usage{}) {
		return
	}
	v.metrics.missed.Inc()
	l := line(j)
	l.Action = report.MissedKill
	describe(&l, j, process.Info{}, usage{})
	v.report.Report(l)
}

// complain says that a process could not be judged, once in a while for each owner. All are
// counted.
func (v *verdicts) complain(j job, err error) {
	now := process.Monotonic()
	v.mu.Lock()
	last, known := v.complained[j.owner]
	tell := !known || now-last >= complaintInterval
	if tell {
		if len(v.complained) >= maxComplaints {
			clear(v.complained)
		}
		v.complained[j.owner] = now
	}
	v.mu.Unlock()
	if tell {
		v.log.Warn("process not judged, to be tried again", "detector", Name,
			"pid", j.key.pid, "uid", j.owner.uid, "err", fmt.Errorf("%s: %w", j.decision.Rule, err))
	}
}
