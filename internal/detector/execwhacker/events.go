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

// batchInterval is for how long events are left in the ring buffer if the wait for the last one
// was shorter, because a wake-up for each event would take more CPU time than its report. It
// is short, because an event may leave a banned program to user space.
const batchInterval = 5 * time.Millisecond

// readEvents handles exec events until the ring buffer is flushed or closed. It never blocks on
// anything else: q handles events that take time.
func (d *Detector) readEvents(ctx context.Context) error {
	q := &undecided{verdict.NewPending(d.Judge, d.metrics.containerLookup), d}
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
			if d.events.AvailableBytes() == 0 && time.Since(began) < batchInterval {
				time.Sleep(batchInterval)
			}
		}
	})
}

// handle logs the verdict of the kernel on an exec, or passes the exec to q if the kernel left
// it to user space. The event is valid until handle returns.
func (d *Detector) handle(ctx context.Context, e event, q *undecided) {
	g := d.generations.Load().find(e.generation)
	if g == nil {
		d.Log.Error("exec event of rules that are no longer known", "detector", Name, "generation", e.generation)
		return
	}
	switch {
	case e.Outcome == verdict.OutcomeAwaited:
		q.Await(ctx, e.Event, string(e.program))
	case e.Outcome == verdict.OutcomeUnknownContainer:
		e = e.clone()
		q.Resolve(ctx, e.Event, string(e.program), e.line(g), &d.metrics.exec.Tally, func(line report.Verdict) { q.kill(ctx, e, g, line) })
	case !d.Judge.ReportKernel(e.Event, string(e.program), e.line(g)): // the kernel could not read or not kill it
		q.judge(ctx, e.clone())
	}
}

// line returns the log line of an event, without the process and the action. Its Text reads
// the bytes of the event.
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
