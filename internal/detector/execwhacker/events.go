package execwhacker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/secrets"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// batchInterval is for how long events are left in the ring buffer if the wait for the last one
// was shorter, because a wake-up for each event would take more CPU time than its report. It
// is short, because an event may leave a banned program to user space. After a batch of more than
// largeBatch events it is shorter still, so that no flood fills the ring buffer meanwhile.
const (
	batchInterval = 10 * time.Millisecond
	largeBatch    = 64
)

// readEvents calls handle with the events of a ring buffer until that is flushed or closed.
// handle must not block.
func (d *Detector) readEvents(ctx context.Context, events *ringbuf.Reader, name string, handle func(event)) error {
	loop := d.Health.Loop(Name+" "+name, health.DefaultLimit)
	defer loop.End()
	return loop.Retry(ctx, func() error {
		var record ringbuf.Record
		for batch := 1; ; batch++ {
			loop.Idle()
			began := time.Now()
			err := events.ReadInto(&record)
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
			handle(e)
			if events.AvailableBytes() == 0 && time.Since(began) < batchInterval {
				time.Sleep(batchInterval / time.Duration(1+batch/largeBatch))
				batch = 0
			}
		}
	})
}

// handle logs the verdict of the kernel on an exec, or passes the exec to q if the kernel left
// it to user space, which can take time. The event is valid until handle returns.
func (d *Detector) handle(ctx context.Context, e event, q *undecided) {
	g := d.generations.Load().find(e.generation)
	if g == nil {
		d.forgotten(e)
		return
	}
	if e.ban != 0 {
		e.SparesNodeRoot = g.set.Bans[e.ban&^match.InEnvironment-1].Spares&rules.NodeRoot != 0
	}
	switch {
	case e.Outcome == verdict.OutcomeAwaited:
		q.Await(ctx, e.Event, string(e.program))
	case e.Outcome == verdict.OutcomeUnknownContainer:
		q.resolve(ctx, e.clone(), g)
	case !d.Judge.ReportKernel(e.Event, string(e.program), d.lineOf(e, g)): // the kernel could not read or not kill it
		q.judge(ctx, e.clone())
	case e.Outcome == verdict.OutcomeObserved && e.ban != 0:
		d.judge.note(e.Event.Event, &g.set.Bans[e.ban&^match.InEnvironment-1])
	}
}

// forgotten logs an event of rules that are not known: those of an agent before, which had others.
// What the kernel left to user space is done by a scan.
func (d *Detector) forgotten(e event) {
	line := report.Verdict{
		Detector: Name, Source: sourceExec, After: e.Took, Rule: "rules of the agent before", Details: d.late(e),
		Text: func(v *report.Verdict) {
			v.Program, v.Cmdline = report.Program(e.program), report.Cmdline(e.args, e.omitted)
		},
	}
	if !d.Judge.ReportKernel(e.Event, string(e.program), line) {
		d.requestScan(policyChanged)
	}
}

// lineOf returns the log line of an event by the rules of g.
func (d *Detector) lineOf(e event, g *generation) report.Verdict {
	line := e.line(g)
	line.Details = append(line.Details, d.late(e)...)
	return line
}

// late returns when an exec was that the kernel has judged before this agent was there, nothing
// for others.
func (d *Detector) late(e event) []slog.Attr {
	if r := (record{exec: e.exec}); !r.seen() || time.Duration(e.exec) >= d.began {
		return nil
	}
	return []slog.Attr{slog.Time("at", time.Now().Add(time.Duration(e.exec)-process.SinceBoot()))}
}

// inEnvironment returns the detail of a line whose rule matches in the environment.
func inEnvironment() slog.Attr { return slog.Bool("environment", true) }

// line returns the log line of an event, without the process and the action. Its Text reads
// the bytes of the event.
func (e event) line(g *generation) report.Verdict {
	v := report.Verdict{
		Detector: Name,
		Source:   sourceExec,
		After:    e.Took,
		Text: func(v *report.Verdict) {
			v.Program, v.Cmdline = report.Program(e.program), report.Cmdline(e.args, e.omitted)
			v.Env = procread.Environ(e.env, g.logEnv)
			if e.ban != 0 && e.ban&match.InEnvironment == 0 {
				v.Matched = report.Matched(g.expressions.Matched(&g.set.Bans[e.ban-1], e.program, secrets.Hide(e.args, e.omitted > 0)))
			}
		},
	}
	if e.ban == 0 {
		return v
	}
	m := match.Verdict{Outcome: match.Allowed, Ban: &g.set.Bans[e.ban&^match.InEnvironment-1]}
	v.Matched, v.Rule = m.Ban.Text, m.Ban.Origin.String()
	if e.ban&match.InEnvironment != 0 {
		v.Details = append(v.Details, inEnvironment())
	}
	switch e.pattern {
	case 0:
		return v
	case byShell:
		m.Spared = rules.Shells
	case byNodeRoot:
		v.Allowed = exempt.NodeRootExemption
		return v
	default:
		m.Allow = &g.set.Allowed[e.pattern-1]
	}
	v.Allowed = m.AllowedBy()
	return v
}
