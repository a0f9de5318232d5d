package execwhacker

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

const (
	// askTimeout bounds the time in which it is found out whether a process in an
	// unknown container is exempt, and askSoon is the pause until a runtime that
	// does not know the container is asked again in that time: CRI-O tells of one
	// when it is complete, shortly before its first program is executed.
	askTimeout, askSoon = 50 * time.Millisecond, 10 * time.Millisecond
	// awaitTimeout is for how long a kernel holds such a process that can: AWAIT_NS in
	// execwhacker.bpf.c.
	awaitTimeout = time.Second
	// Where that was not enough, it is tried again, so often and after pauses that
	// double from askTimeout up to askPause.
	askAgain = 60
	askPause = time.Second
	// maxQuestions is how many are open at once, and maxOwnQuestions how many of one
	// owner. Each may hold a descriptor.
	maxQuestions, maxOwnQuestions = 256, 32
)

// questions are execs that the kernel left open: it could not read their arguments, or
// does not know whether the container of a banned one is exempt. That one is not killed
// before it is known: a wrong ban must not take down what keeps the cluster running.
type questions struct {
	detector *Detector
	open     errgroup.Group
	mu       sync.Mutex
	owners   map[string]int // how many are open of each
}

func newQuestions(d *Detector) *questions {
	q := &questions{detector: d, owners: make(map[string]int)}
	q.open.SetLimit(maxQuestions)
	return q
}

// start answers a question without waiting for that. It returns false if too many are
// open.
func (q *questions) start(e event, answer func()) bool {
	owner := e.Cgroup.Owner
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.owners[owner] >= maxOwnQuestions {
		return false
	}
	started := q.open.TryGo(func() error {
		answer()
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.owners[owner]--; q.owners[owner] == 0 {
			delete(q.owners, owner)
		}
		return nil
	})
	if started {
		q.owners[owner]++
	}
	return started
}

// judge judges an exec whose arguments the kernel could not read. If there is no room
// for it now, a scan does that soon.
func (q *questions) judge(ctx context.Context, e event) {
	d := q.detector
	s := suspect{e.Event.Event, record{exec: e.exec, generation: e.generation, path: string(e.program)}}
	if len(e.program) >= logPath {
		s.path = "" // it was cut
	}
	if !q.start(e, func() {
		if d.judge.decide(ctx, []suspect{s}, d.policy.Load(), sourceExec, &d.metrics.exec) {
			return
		}
		// Perhaps it goes on in what it has forked.
		forks, err := d.judge.list.of(e.exec)
		if err != nil {
			d.Log.Error("processes that an exec has forked may be left", "detector", Name, "err", err)
		}
		for _, f := range forks {
			if d.judge.decide(ctx, []suspect{f}, d.policy.Load(), sourceExec, &d.metrics.exec) {
				return
			}
		}
		d.metrics.exec.unreadable.Add(1)
		d.scanSoon(execsLost)
	}) {
		d.metrics.exec.unreadable.Add(1)
		d.scanSoon(execsLost)
	}
}

// logPath is the longest path in an event, in bytes.
const logPath = 1023

// tell finds out whether a container is exempt, and so tells the kernel, which holds a
// process for a while until it knows.
func (q *questions) tell(ctx context.Context, e event) {
	q.start(e, func() {
		began := time.Now()
		_, err := q.exempt(ctx, e, awaitTimeout)
		took := time.Since(began)
		q.detector.metrics.answered(0, err == nil && took <= askTimeout, took)
	})
}

// ask decides on an exec of which it is not known whether it is exempt, and reports
// that.
func (q *questions) ask(ctx context.Context, e event, v report.Verdict) {
	if !q.start(e, func() { q.decide(ctx, e, v) }) {
		q.spare(e, v, "too many containers are unknown")
	}
}

func (q *questions) decide(ctx context.Context, e event, v report.Verdict) {
	m := q.detector.metrics
	began := time.Now()
	pause := askTimeout
	for try := range askAgain {
		by, err := q.exempt(ctx, e, askTimeout)
		m.answered(try, err == nil, time.Since(began))
		switch {
		case err == nil && by != "":
			q.spare(e, v, by)
			return
		case err == nil:
			v.After += time.Since(began)
			q.kill(ctx, e, v)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, askPause)
	}
	q.spare(e, v, "its container is unknown")
}

func (q *questions) exempt(ctx context.Context, e event, limit time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		by, err := q.detector.Judge.Exempt.Find(ctx, e.Event.Event, string(e.program))
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

// kill kills the process of an exec that was found banned, and all that came of it.
func (q *questions) kill(ctx context.Context, e event, v report.Verdict) {
	d := q.detector
	g := d.past.Load().find(e.generation)
	if g == nil {
		return
	}
	s := suspect{e.Event.Event, record{exec: e.exec}}
	l := look{
		Verdict: match.Verdict{Outcome: match.Banned, Ban: &g.set.Bans[e.ban-1]},
		paths:   []string{string(e.program)},
		info:    process.Info{Args: e.args},
		line:    v,
	}
	did, err := d.judge.act(ctx, s, l, d.policy.Load(), sourceExec, &d.metrics.exec)
	if err != nil || did == 0 || did == verdict.Limited {
		return
	}
	l.line = report.Verdict{} // of the first process
	d.judge.endLine(ctx, s, map[process.Who]bool{e.Who: true}, l, d.policy.Load(), sourceExec, &d.metrics.exec)
}

func (q *questions) spare(e event, v report.Verdict, why string) {
	v.Allowed = why
	q.detector.Judge.Record(verdict.Exempt, e.Event.Event, v, &q.detector.metrics.exec.Tally)
}

// wait returns when all questions are decided, or given up because of the end.
func (q *questions) wait() { _ = q.open.Wait() }
