package hashwork

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/fair"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

const (
	// Searching takes a CPU, so there are few workers, one at most for a container.
	workers = 2
	// examineTime bounds an examination, with searches of new files.
	examineTime = 10 * time.Second
	// retryInterval is the time after which a failed examination, or a kill that the kill limit
	// prevented, is repeated.
	retryInterval = 10 * time.Second
)

// source is the value of the log key and of the metric label.
const source = "clock"

// errAgain is returned for a verdict that is complete but must be repeated later.
var errAgain = errors.New("to be decided again")

// verdicts are the workers that examine programs and carry out verdicts.
type verdicts struct {
	detector.Env
	examiner examiner
	metrics  *metrics
	learned  *learner
	waits    waits
	queue    *fair.Queue[task]
}

func newVerdicts(e detector.Env, m *metrics, l *learner) *verdicts {
	return &verdicts{Env: e, examiner: examiner{reader: e.Judge.Reader}, metrics: m, learned: l, queue: fair.NewQueue[task]()}
}

// run works until ctx ends.
func (v *verdicts) run(ctx context.Context) error {
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for {
				t, ok := v.queue.Take(ctx)
				if !ok {
					return
				}
				t.run(ctx, v)
				v.queue.Done(t)
			}
		})
	}
	running.Wait()
	return nil
}

// put queues a job. Without room for it, the program is examined later.
func (v *verdicts) put(j job) {
	if !v.queue.Put(j) {
		v.metrics.postponed.Inc()
		j.state.end(process.Monotonic() + retryInterval)
	}
}

// attempt examines a program.
func (v *verdicts) attempt(ctx context.Context, j job) {
	limited, cancel := context.WithTimeout(ctx, examineTime)
	defer cancel()
	began := time.Now()
	err := v.examine(limited, j)
	v.metrics.examinations.Observe(time.Since(began).Seconds())
	next := time.Duration(0)
	switch {
	case errors.Is(err, process.ErrGone):
		if j.byGroup {
			j.missed.Store(true)
		}
	case err == nil, ctx.Err() != nil:
	case errors.Is(err, errAgain):
		next = process.Monotonic() + retryInterval
	default:
		v.metrics.postponed.Inc()
		v.Log.Debug("program not examined", "detector", Name, "pid", j.key.PID, "uid", j.uid, "err", err)
		if errors.Is(err, procread.ErrStuck) {
			next = process.Monotonic() + retryInterval
		}
	}
	j.state.end(next)
}

// examine examines a program and carries out the verdict.
func (v *verdicts) examine(ctx context.Context, j job) error {
	h, err := j.key.Open()
	if err != nil {
		return err
	}
	defer h.Close()
	if h.Protected() != nil {
		return nil
	}
	f, err := v.examiner.examine(ctx, h, j)
	v.tell(ctx, j, f)
	act, again := f.acts(j.state.reported.Load(), j.policy.kills())
	if !act {
		return err
	}
	return v.decide(ctx, h, j, f, again)
}

// tell logs at the level debug how close a process came to the rules.
func (v *verdicts) tell(ctx context.Context, j job, f finding) {
	if !v.Log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	all := []slog.Attr{
		slog.String("detector", Name), slog.Int("pid", j.key.PID), slog.Any("uid", j.uid),
		slog.Uint64("cgroup_id", j.by.Cgroup), slog.Int("samples", j.samples),
	}
	if f.closest != nil {
		all = append(all, slog.Attr{Key: "program", Value: f.closest.evidence(j)})
	}
	if f.walk.Samples > 0 {
		all = append(all, slog.Any("scratchpad", f.walk))
	}
	v.Log.LogAttrs(ctx, slog.LevelDebug, "examined a process", all...)
}

// decide kills a process, or reports why it does not. With again, that was reported before, and the
// process may have another likely sign now. After an error, the next examination is to
// find it again.
func (v *verdicts) decide(ctx context.Context, h *process.Handle, j job, f finding, again bool) (err error) {
	defer func() {
		if err != nil && f.rule == programRule {
			j.state.searchAgain()
		}
	}()
	p, err := v.Judge.Reader.Read(ctx, h, j.owner)
	if err != nil && !errors.Is(err, procread.ErrStuck) { // else only the arguments are missing
		return err
	}
	at, gone := v.Inventory.Locate(p.PID)
	if gone != nil {
		return gone
	}
	if err = v.waits.unread(ctx, v.Judge, err, at, j.policy.allows()); err != nil {
		if errors.Is(err, procread.ErrStuck) {
			j.missed.Store(true) // it may have a successor before the next try
		}
		return err
	}
	suspect := verdict.Suspect{
		Event: at, Handle: h, Programs: p.Paths(), Observe: !j.policy.kills(), Again: again, LogEnv: j.policy.LogEnv,
		Likely:  verdict.Sign{Kind: f.likely, Text: Name + ": " + f.rule.String()},
		Line:    newLine(j, f, p),
		Confirm: func() error { return v.Inventory.Executes(j.key) },
	}
	if allow := j.policy.Matcher.Allowed([]byte(p.Program), p.Args); allow != nil {
		suspect.AllowedBy = allow.Origin.String()
	}
	candidate := v.learned.candidate(j, f, at)
	did, err := v.Judge.Decide(ctx, suspect, v.metrics.tally(f.rule))
	if err != nil {
		return fmt.Errorf("%s: %w", f.rule, err)
	}
	if did == verdict.Killed && candidate != nil {
		v.learned.learn(candidate)
	}
	if did == verdict.Limited {
		return errAgain // until the kill limit is reset
	}
	j.state.reported.Store(max(j.state.reported.Load(), f.strength()))
	return nil
}

// newLine returns the log line. docs/hashwork.md lists the keys.
func newLine(j job, f finding, p process.Info) report.Verdict {
	return report.Verdict{
		Detector: Name, Source: source, Rule: Name + " " + f.rule.String(),
		Program: report.Program([]byte(p.Program)), Cmdline: report.Cmdline(p.Args, 0),
		After: process.SinceBoot() - j.key.Start,
		Details: []slog.Attr{
			{Key: "evidence", Value: f.evidence},
			slog.Float64("cpu_seconds", math.Round(p.CPU.Seconds()*100)/100),
			slog.Int("threads", p.Threads),
		},
	}
}
