package execwhacker

import (
	"context"
	"errors"
	"fmt"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/report"
)

// readEvents tells of execs until the ring buffer is closed. It waits for nothing else:
// what takes time is left to q.
func (d *Detector) readEvents(ctx context.Context) error {
	q := newQuestions(d)
	defer q.wait()
	loop := d.health.Loop(Name+" events", health.TurnAtMost)
	defer loop.End()
	return loop.Retry(ctx, func() error {
		for {
			loop.Rest()
			record, err := d.events.Read()
			if errors.Is(err, ringbuf.ErrFlushed) || errors.Is(err, ringbuf.ErrClosed) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("reading exec events: %w", err)
			}
			loop.Turn()
			e, err := decodeEvent(record.RawSample)
			if err != nil {
				loop.Failed(err)
				continue
			}
			d.handle(ctx, e, q)
		}
	})
}

// handle reports an exec that was found, and has it judged if the kernel could not.
func (d *Detector) handle(ctx context.Context, e event, q *questions) {
	g := d.past.Load().find(e.generation)
	if g == nil {
		d.log.Error("exec event of rules that are forgotten", "detector", Name, "generation", e.generation)
		return
	}
	v := e.verdict(g)
	switch {
	case e.killed:
		v.Action = report.Killed
	case e.outcome == bpfOutcomeOBSERVED:
		v.Action = report.Observed
	case e.outcome == bpfOutcomeBRAKED:
		v.Action, v.Braked = report.Observed, true
	case e.outcome == bpfOutcomeALLOWED:
		v.Action = report.Spared
		v.Allowed = g.set.Allowed[e.pattern-1].Origin.String()
	case e.outcome == bpfOutcomeEXEMPT:
		v.Action, v.Allowed = report.Spared, d.exemption(e)
	case e.outcome == bpfOutcomeAWAITED:
		q.tell(ctx, e)
		return
	case e.outcome == bpfOutcomeUNKNOWN_CONTAINER:
		q.ask(ctx, e, v)
		return
	default: // the kernel could not read it, or not kill it
		q.judge(ctx, e)
		return
	}
	d.report.Report(v)
}

// exemption names the exemption that the kernel went by.
func (d *Detector) exemption(e event) string {
	if by := d.guard.Exemption(e.process.File, string(e.program), e.process.Cgroup); by != "" {
		return by
	}
	return "an exemption that is no more"
}

// verdict returns what an event tells, but for what was done.
func (e event) verdict(g *generation) report.Verdict {
	v := report.Verdict{
		Detector: Name,
		Source:   sourceExec,
		PID:      e.process.PID,
		PPID:     e.process.PPID,
		UID:      e.process.UID,
		Program:  process.Printable(e.program, logLimit),
		Cmdline:  e.cmdline(),
		Cgroup:   e.process.Cgroup.Path(),
		Env:      process.Environ(e.env, g.logEnv),
		After:    e.took,
	}
	if e.ban != 0 {
		ban := g.set.Bans[e.ban-1]
		v.Matched, v.Rule = ban.Text, ban.Origin.String()
	}
	return v
}
