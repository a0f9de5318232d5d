package execwhacker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/printable"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// gather is for how long events are left to gather where one came as soon after the one
// before: to wake up for an event takes more CPU time than to report it. It is short, as
// banned programs may be among them which the kernel could not judge.
const gather = 5 * time.Millisecond

// readEvents tells of execs until the ring buffer is closed. It waits for nothing else:
// what takes time is left to q.
func (d *Detector) readEvents(ctx context.Context) error {
	q := &questions{verdict.NewPending(d.Judge, d.metrics.answered), d}
	defer q.Wait()
	loop := d.Health.Loop(Name+" events", health.DefaultLimit)
	defer loop.End()
	return loop.Retry(ctx, func() error {
		var record ringbuf.Record
		for {
			loop.Idle()
			began := time.Now()
			err := d.events.ReadInto(&record)
			if errors.Is(err, ringbuf.ErrFlushed) || errors.Is(err, ringbuf.ErrClosed) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("reading exec events: %w", err)
			}
			loop.Progress()
			e, err := decodeEvent(record.RawSample, d.Inventory.Paths())
			if err != nil {
				loop.Failed(err)
				continue
			}
			d.handle(ctx, e, q)
			if d.events.AvailableBytes() == 0 && time.Since(began) < gather {
				time.Sleep(gather)
			}
		}
	})
}

// handle reports an exec that was found, and has it judged if the kernel could not. The
// event is valid until it returns.
func (d *Detector) handle(ctx context.Context, e event, q *questions) {
	g := d.past.Load().find(e.generation)
	if g == nil {
		d.Log.Error("exec event of rules that are forgotten", "detector", Name, "generation", e.generation)
		return
	}
	line := e.line(g)
	switch {
	case e.Outcome == verdict.OutcomeAwaited:
		q.Await(ctx, e.Event, string(e.program))
	case e.Outcome == verdict.OutcomeUnknownContainer:
		e = e.clone()
		q.Resolve(ctx, e.Event, string(e.program), e.line(g), &d.metrics.exec.Tally, func(line report.Verdict) { q.kill(ctx, e, line) })
	case !d.Judge.ReportKernel(e.Event, string(e.program), line): // it could not be read, or not be killed
		q.judge(ctx, e.clone())
	}
}

// line returns what the log line tells of an event, but for who the process is and what was
// done. Its text is made of the event's bytes.
func (e event) line(g *generation) report.Verdict {
	v := report.Verdict{
		Detector: Name,
		Source:   sourceExec,
		After:    e.Took,
		Text: func(v *report.Verdict) {
			v.Program, v.Cmdline = printable.Text(e.program, logLimit), e.cmdline()
			v.Env = procread.Environ(e.env, g.logEnv)
		},
	}
	if e.ban != 0 {
		ban := g.set.Bans[e.ban-1]
		v.Matched, v.Rule = ban.Text, ban.Origin.String()
	}
	if e.pattern != 0 {
		v.Allowed = g.set.Allowed[e.pattern-1].Origin.String()
	}
	return v
}
