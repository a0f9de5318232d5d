package execwhacker

import (
	"context"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// questions are execs that the kernel left open: it could not read their arguments, or
// does not know whether the container of a banned one is exempt.
type questions struct {
	*verdict.Pending
	detector *Detector
}

// judge judges an exec whose arguments the kernel could not read. If there is no room
// for it now, a scan does that soon.
func (q *questions) judge(ctx context.Context, e event) {
	d := q.detector
	s := suspect{e.Event.Event, record{exec: e.exec, generation: e.generation, path: string(e.program)}}
	if len(e.program) >= logPath {
		s.path = "" // it was cut
	}
	if !q.Go(e.Cgroup.Owner, func() {
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
