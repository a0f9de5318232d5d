package monero

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/verdict"
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
	detector.Env
	metrics        *metrics
	quick, patient *queue

	mu         sync.Mutex
	complained map[owner]time.Duration
}

func newVerdicts(e detector.Env, m *metrics) *verdicts {
	return &verdicts{
		Env: e, metrics: m,
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

// confirm returns errStale if a suspect gave no sample lately. Samples are of one program: it
// is then not known that the process still executes it.
func (s *standing) confirm() error {
	if process.Monotonic()-time.Duration(s.fresh.Load()) > staleAfter {
		return errStale
	}
	return nil
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
	p, err := v.Judge.Reader.Read(ctx, h, j.owner.String())
	if errors.Is(err, procread.ErrStuck) && last { // but for the arguments all is known
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
	l := line(j)
	describe(&l, p, u)
	suspect := verdict.Suspect{
		Event: at, Handle: h, Programs: []string{p.Program}, Observe: !j.wouldKill(u), LogEnv: j.policy.LogEnv,
		Line: l, Confirm: j.standing.confirm,
	}
	if allow := j.policy.Matcher.Allowed([]byte(p.Program), p.Args); allow != nil {
		suspect.AllowedBy = allow.Origin.String()
	}
	did, err := v.Judge.Decide(ctx, suspect, v.metrics.tally(j.decision.Rule))
	if err == nil && did == verdict.Limited {
		return errAgain // to be killed when the limit is reset
	}
	return err
}

// wouldKill reports whether a process is killed that is not spared.
func (j job) wouldKill(u usage) bool {
	return j.policy.kills() && (j.decision.Rule == rounding.JIT || j.policy.settings.KillWithoutMemoryEvidence || u.ofRandomX())
}

// missed reports that a process has ended that was to be killed.
func (v *verdicts) missed(j job) {
	if !j.wouldKill(usage{}) {
		return
	}
	l := line(j)
	describe(&l, process.Info{}, usage{})
	v.Judge.Record(verdict.Missed, process.Event{Who: process.Who{PID: j.key.pid, UID: j.owner.uid}}, l, v.metrics.tally(j.decision.Rule))
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
		v.Log.Warn("process not judged, to be tried again", "detector", Name,
			"pid", j.key.pid, "uid", j.owner.uid, "err", fmt.Errorf("%s: %w", j.decision.Rule, err))
	}
}
