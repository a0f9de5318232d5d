package tcpflowkiller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/cryptnono/cryptnono/internal/detector/tcpflowkiller/firstbytes"
	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// Verdicts that take time. Those for which the process is not known have places of their own: a user who
// makes cgroups can take them all, since no owner is known that could have a share.
type undecided struct {
	*verdict.Pending
	unowned *verdict.Pending
}

func (d *Detector) newUndecided() undecided {
	return undecided{verdict.NewPending(d.Judge, nil), verdict.NewPending(d.Judge, nil)}
}

// Wait waits until all have ended.
func (u undecided) Wait() {
	u.unowned.Wait() // it may leave kills to the others
	u.Pending.Wait()
}

// readEvents handles events until ctx ends.
func (d *Detector) readEvents(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = d.events.Flush() })() // pending events are still reported
	pending := d.newUndecided()
	defer pending.Wait()
	loop := d.Health.Loop(Name+" events", health.DefaultLimit)
	defer loop.End()
	return loop.Retry(ctx, func() error {
		for {
			loop.Idle()
			record, err := d.events.Read()
			if errors.Is(err, ringbuf.ErrFlushed) || errors.Is(err, ringbuf.ErrClosed) {
				return nil
			} else if err != nil {
				return fmt.Errorf("reading events of connections: %w", err)
			}
			loop.Progress()
			e, err := decodeEvent(record.RawSample, d.Inventory.Paths())
			if err != nil {
				loop.Failed(err)
				continue
			}
			p := d.policyOf(&e)
			if p == nil {
				d.Log.Error("event of a policy that is no longer known", "detector", Name, "generation", e.raw.Generation)
				continue
			}
			d.handle(ctx, e, p, pending)
		}
	})
}

// handle logs a verdict of the kernel by a policy, or completes it.
func (d *Detector) handle(ctx context.Context, e event, p *policy, pending undecided) {
	e.at = d.at(&e)
	tally := &d.tallies[e.raw.Reason]
	switch {
	case e.raw.Act == uint32(bpfActACT_MARK):
	case e.raw.Spared == uint32(bpfSparedSPARED_NOBODY):
		// The event has the process that happened to run.
		e.program, e.args, e.omitted, e.env, e.Event.Event = "", nil, 0, nil, process.Event{}
		if !pending.unowned.Go(e.socketCgroup(), func() { d.judgeOwners(ctx, e, p, pending) }) {
			d.logNobody(e, p)
		}
	case e.Outcome == verdict.OutcomeUndecided:
		d.Judge.LogKernel(verdict.Refused, e.Event, e.line(p))
	case e.Outcome == verdict.OutcomeUnknownContainer:
		pending.Find(ctx, e.Event, "", func(by string, took time.Duration) {
			line := e.line(p)
			line.After += took
			d.completeUnknown(ctx, e, p, by, line, tally)
			if by == "" {
				d.meet(ctx, e, p, pending)
			}
		})
		return
	case e.Outcome == verdict.OutcomeBanned && !e.Killed && d.isLate(&e): // settings may have changed
		line := e.line(p)
		d.killLater(ctx, e, p, line, pending, func() { d.Judge.Record(verdict.Refused, e.Event.Event, line, tally) })
	case e.Outcome == verdict.OutcomeBanned && !e.Killed:
		h := e.open()
		if h != nil {
			defer h.Close()
		}
		d.Judge.Complete(verdict.Suspect{Event: e.Event.Event, Handle: h, Line: e.line(p)}, tally)
	default:
		d.Judge.ReportKernel(e.Event, "", e.line(p))
	}
	d.meet(ctx, e, p, pending)
}

// sign returns what a verdict tells other detectors of the process, the zero value for nothing: not
// what the operator wants only observed or refused, nor what another process may have sent.
func (e *event) sign(p *policy) verdict.Sign {
	found := func(kind verdict.SignKind, what string) verdict.Sign {
		return verdict.Sign{Kind: kind, Text: Name + ": " + what + " " + e.line(p).Matched}
	}
	switch {
	case p.Observe || e.raw.Spared != uint32(bpfSparedNOT_SPARED) && e.raw.Spared != uint32(bpfSparedSPARED_HOST):
	case e.raw.Refused != 0 && e.raw.Act > uint32(bpfActACT_REFUSE):
		return found(verdict.NamesPool, "refused")
	case e.Outcome != verdict.OutcomeObserved || p.settings.capped(p.settings.Names) != Kill:
	case e.raw.Act == uint32(bpfActACT_MARK):
		return found(verdict.NamesPool, "question for")
	case e.raw.Reason == uint32(bpfReasonBECAUSE_NAME) && firstbytes.Finding(e.raw.Finding) == firstbytes.Hello:
		return found(verdict.TLSToPool, "TLS to")
	}
	return verdict.Sign{}
}

// meet tells other detectors what a process has to do with a pool. One that speaks TLS to it is
// killed if another detector has found something; others look again.
func (d *Detector) meet(ctx context.Context, e event, p *policy, pending undecided) {
	sign := e.sign(p)
	if sign.Kind == 0 {
		return
	}
	other := d.Judge.Meet(e.Event.Event, sign)
	if other == "" || sign.Kind != verdict.TLSToPool {
		return
	}
	line := e.line(p)
	line.Details = verdict.WithSign(line.Details, other)
	d.killLater(ctx, e, p, line, pending, func() {}) // the connection has its line
}

// killLater kills as kill does, in another goroutine. If it cannot be decided, it calls undecided.
func (d *Detector) killLater(ctx context.Context, e event, p *policy, line report.Verdict, pending undecided, undecided func()) {
	if !pending.Go(e.Cgroup.Owner, func() {
		if !d.kill(ctx, e, p, line, &d.tallies[e.raw.Reason]) {
			undecided()
		}
	}) {
		d.Log.Warn("process not killed, because too many verdicts are pending", "detector", Name, "pid", e.PID)
		undecided()
	}
}

// open returns a handle of the process, nil if it has ended.
func (e *event) open() *process.Handle {
	h, err := e.Open()
	if err != nil {
		return nil
	}
	return h
}

// completeUnknown decides about a process whose container the kernel did not know. by is its
// exemption.
func (d *Detector) completeUnknown(ctx context.Context, e event, p *policy, by string, line report.Verdict, t *verdict.Tally) {
	onlyRefused := e.raw.Spared != uint32(bpfSparedNOT_SPARED) || e.raw.Act == uint32(bpfActACT_REFUSE) ||
		e.raw.Act == uint32(bpfActACT_KILL_CONTAINED) && !e.Cgroup.Container.Contained()
	switch {
	case by == verdict.TooManyUnknown: // by one who fills the places: that is no reason to let it through for good
		d.Log.Warn("process not killed, because too many verdicts are pending", "detector", Name, "pid", e.PID)
		d.Judge.Record(verdict.Refused, e.Event.Event, line, t)
	case by != "":
		d.pardon(e)
		line.Allowed = by
		d.Judge.Record(verdict.Exempt, e.Event.Event, line, t)
	case onlyRefused:
		d.Judge.Record(verdict.Refused, e.Event.Event, line, t)
	default:
		if !d.kill(ctx, e, p, line, t) {
			d.Judge.Record(verdict.Refused, e.Event.Event, line, t)
		}
	}
}

// kill kills a process that may still be exempt or limited. By rules of an agent before that are no
// longer in force it does not: when the process sends again, there is a new verdict. If it returns
// false, nothing was done, logged as a verdict or counted.
func (d *Detector) kill(ctx context.Context, e event, p *policy, line report.Verdict, t *verdict.Tally) bool {
	if p.gone {
		return false
	}
	h := e.open()
	if h != nil {
		defer h.Close()
	}
	key := p.limitKey(&e.raw)
	suspect := verdict.Suspect{Event: e.Event.Event, Handle: h, Programs: []string{""}, Observe: p.Observe, Line: line, LimitKey: key}
	did, err := d.Judge.Decide(ctx, suspect, t)
	if err != nil {
		d.Log.Warn("process not judged", "detector", Name, "pid", e.PID, "err", err)
		return false
	}
	if did == verdict.Exempt || did == verdict.Limited && d.Judge.Limit.IsStopped(key) {
		d.pardon(e)
	}
	return true
}

// pardon lets the connection of an event through from now on: TCP sends again what was refused.
func (d *Detector) pardon(e event) {
	if e.raw.Cookie == 0 {
		return
	}
	if err := d.shared[bpfMapPardoned].Put(e.raw.Cookie, uint32(1)); err != nil {
		d.Log.Error("connection not let through", "detector", Name, "err", err)
	}
}
