package execwhacker

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// An undecided handles the execs that the kernel left to user space: their arguments could not
// be read, or it is not known whether the container of a banned program is exempt.
type undecided struct {
	*verdict.Pending
	detector *Detector
	waits    atomic.Bool // scans are due while others are decided: a process is spared for lack of a place
}

// judge judges an exec whose arguments the kernel could not read. If too many are pending, it
// requests a scan instead.
func (q *undecided) judge(ctx context.Context, e event) {
	d := q.detector
	s := suspect{e.Event.Event, record{exec: e.exec, generation: e.generation, path: string(e.program)}}
	if len(e.program) >= logPath {
		s.path = "" // truncated
	}
	if !q.Go(e.Cgroup.Owner, func() {
		if d.judge.decide(ctx, []suspect{s}, d.policy.Load(), sourceExec, &d.metrics.exec) {
			return
		}
		// It may have ended after a fork.
		forks, err := d.judge.list.of(e.exec)
		if err != nil {
			d.Log.Error("forks of an exec may be left", "detector", Name, "err", err)
		}
		for _, f := range forks {
			if d.judge.decide(ctx, []suspect{f}, d.policy.Load(), sourceExec, &d.metrics.exec) {
				return
			}
		}
		d.metrics.exec.unreadable.Add(1)
		d.requestScan(execsLost)
	}) {
		d.metrics.exec.unreadable.Add(1)
		d.requestScan(execsLost)
	}
}

// resolve decides about an exec that the rules of g ban, in an unknown container. If too many are pending, scans
// follow: one within a second, and others while these are decided, which may be of the same container.
func (q *undecided) resolve(ctx context.Context, e event, g *generation) {
	d := q.detector
	line := d.lineOf(e, g)
	q.Find(ctx, e.Event, string(e.program), func(by string, took time.Duration) {
		if by == "" {
			line.After += took
			q.kill(ctx, e, g, line)
		} else {
			line.Allowed = by
			d.Judge.Record(verdict.Exempt, e.Event.Event, line, &d.metrics.exec.Tally)
		}
		switch {
		case by == verdict.TooManyUnknown:
			q.waits.Store(true)
		case q.waits.Swap(false):
			if !q.IsLast() {
				q.waits.Store(true)
			}
		default:
			return
		}
		d.unplaced.Add(1)
	})
}

// logPath is the maximum length of a path in an event, in bytes.
const logPath = 1023

// kill kills the process of an exec that the rules of g ban, and its forks, unless it is exempt
// by now.
func (q *undecided) kill(ctx context.Context, e event, g *generation, v report.Verdict) {
	d := q.detector
	s := suspect{e.Event.Event, record{exec: e.exec}}
	l := judgement{
		Verdict: match.Verdict{Outcome: match.Banned, Ban: &g.set.Bans[e.ban-1]},
		paths:   []string{string(e.program)},
		info:    process.Info{Args: e.args},
		line:    v,
	}
	action, err := d.judge.carryOut(ctx, s, l, d.policy.Load(), sourceExec, &d.metrics.exec)
	switch {
	case err != nil:
		d.requestScan(execsLost)
		return
	case action != verdict.Killed && action != verdict.Missed && action != verdict.Failed:
		return
	}
	l.line = report.Verdict{} // only for the first process
	done := outcomes{handled: make(map[process.Instance]bool)}
	done.add(s, action, nil)
	d.judge.killDescendants(ctx, s, &done, l, d.policy.Load(), sourceExec, &d.metrics.exec)
}
