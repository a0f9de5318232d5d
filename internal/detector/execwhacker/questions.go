package execwhacker

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/report"
)

const (
	// askTimeout bounds the time in which it is found out whether a process in an
	// unknown container is exempt, and askSoon is the pause until a runtime that
	// does not know the container is asked again in that time: CRI-O tells of one
	// when it is complete, shortly before its first program is executed.
	askTimeout, askSoon = 50 * time.Millisecond, 10 * time.Millisecond
	// Where that was not enough, it is tried again, so often and after pauses that
	// double from askTimeout up to askPause.
	askAgain = 60
	askPause = time.Second
	// maxQuestions is how many are open at once. Each holds a descriptor.
	maxQuestions = 256
)

// questions are execs of banned programs of which the kernel does not know whether
// their container is exempt. The process is not killed before it is known: a wrong
// ban must not take down what keeps the cluster running.
type questions struct {
	detector *Detector
	open     errgroup.Group
}

func newQuestions(d *Detector) *questions {
	q := &questions{detector: d}
	q.open.SetLimit(maxQuestions)
	return q
}

// ask decides on an exec and reports that, without waiting for it.
func (q *questions) ask(ctx context.Context, e event, v report.Verdict) {
	h, err := e.process.Open()
	if err != nil {
		q.missed(v)
		return
	}
	if !q.open.TryGo(func() error {
		defer h.Close()
		q.decide(ctx, h, e, v)
		return nil
	}) {
		h.Close()
		q.spare(v, "too many containers are unknown")
	}
}

func (q *questions) decide(ctx context.Context, h *process.Handle, e event, v report.Verdict) {
	m := q.detector.metrics
	began := time.Now()
	pause := askTimeout
	for try := range askAgain {
		by, err := q.exempt(ctx, e)
		m.answered(try, err == nil, time.Since(began))
		switch {
		case err == nil && by != "":
			m.exec.exempt.Add(1)
			v.Action, v.Allowed = report.Spared, by
			q.detector.report.Report(v)
			return
		case err == nil:
			v.After += time.Since(began)
			v.Action, v.Braked = q.detector.judge.kill(h, e.process.Cgroup, &m.exec)
			q.detector.report.Report(v)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, askPause)
		if h.Alive() != nil {
			q.missed(v)
			return
		}
	}
	q.spare(v, "its container is unknown")
}

func (q *questions) exempt(ctx context.Context, e event) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	for {
		by, err := q.detector.guard.Exempt(ctx, e.process.PID, string(e.program), e.process.Cgroup)
		if err == nil {
			return by, nil
		}
		select {
		case <-ctx.Done():
			return "", err
		case <-time.After(askSoon):
		}
	}
}

func (q *questions) missed(v report.Verdict) {
	q.detector.metrics.exec.missed.Add(1)
	v.Action = report.MissedKill
	q.detector.report.Report(v)
}

func (q *questions) spare(v report.Verdict, why string) {
	q.detector.metrics.exec.exempt.Add(1)
	v.Action, v.Allowed = report.Spared, why
	q.detector.report.Report(v)
}

// wait returns when all questions are decided, or given up because of the end.
func (q *questions) wait() { _ = q.open.Wait() }
