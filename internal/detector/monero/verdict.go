package monero

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
	"github.com/cryptnono/cryptnono/internal/guard"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/report"
)

// logLimit is the length in bytes of a program or a command line in the log.
const logLimit = 4096

// decide kills a process, or reports why it does not.
func (j *judge) decide(ctx context.Context, f finding, now time.Duration) {
	v := report.Verdict{
		Detector: Name,
		Source:   "rounding",
		PID:      f.key.pid,
		Rule:     Name + " " + f.decision.Rule.String(),
		After:    process.SinceBoot() - f.key.start,
	}
	h, err := f.key.open()
	if err == nil {
		defer h.Close()
		if h.Protected() != nil {
			return
		}
		// What RandomX needs was mapped before the first hash; all may have
		// changed since the map was read for a sample's sake.
		j.readMemory(ctx, f.suspect, h, now)
		var p process.Info
		p, err = j.reader.Read(ctx, h, "")
		if errors.Is(err, process.ErrStuck) { // but for the arguments all is known
			err = nil
		}
		describe(&v, f, p)
		if err == nil {
			err = j.act(ctx, &v, f, h, p)
		}
		if err == nil {
			j.report.Report(v)
			if v.Braked {
				j.suspects.forget(f.key) // to be killed when the brake lets go
			}
			return
		}
	}
	if !errors.Is(err, process.ErrGone) {
		j.metrics.unreadable.Inc()
		j.log.Warn("process not judged", "detector", Name, "pid", f.key.pid, "err", err)
		j.suspects.forget(f.key) // so that it is tried again, but not at each sample
		return
	}
	describe(&v, f, process.Info{})
	if j.wouldKill(f) {
		j.metrics.missed.Inc()
		v.Action = report.MissedKill
		j.report.Report(v)
	}
}

// act kills a process, unless it must be spared or only observed, and says so. The
// error says that this could not be found out.
func (j *judge) act(ctx context.Context, v *report.Verdict, f finding, h *process.Handle, p process.Info) error {
	at, err := j.guard.Locate(p.PID)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, exemptTimeout)
	defer cancel()
	exemption, err := j.guard.Exempt(ctx, at, p.Program)
	if err != nil {
		return err
	}
	v.Cgroup = at.Cgroup.Path()
	if v.Env, err = j.reader.Environ(ctx, h, "", j.LogEnv); err != nil {
		j.log.Debug("environment not read", "detector", Name, "err", err)
	}
	rule := f.decision.Rule.String()
	allow := j.Matcher.Allowed([]byte(p.Program), p.Args)
	switch {
	case allow != nil:
		v.Action, v.Allowed = report.Spared, allow.Origin.String()
		j.metrics.spared.WithLabelValues(rule).Inc()
	case exemption != "":
		v.Action, v.Allowed = report.Spared, exemption
		j.metrics.exempt.WithLabelValues(rule).Inc()
	case !j.wouldKill(f):
		v.Action = report.Observed
		j.metrics.observed.WithLabelValues(rule).Inc()
	default:
		j.kill(v, rule, h, at.Cgroup)
	}
	return nil
}

// exemptTimeout bounds the time for which a process's container is asked for.
const exemptTimeout = time.Second

// kill kills a process unless the brake withholds that, and says what was done.
func (j *judge) kill(v *report.Verdict, rule string, h *process.Handle, at process.Cgroup) {
	err := j.guard.Kill(h, at)
	switch {
	case err == nil:
		v.Action = report.Killed
		j.metrics.killed.WithLabelValues(rule).Inc()
		return
	case errors.Is(err, guard.ErrBraked):
		v.Action, v.Braked = report.Observed, true
		j.metrics.withheld.WithLabelValues(rule).Inc()
		return
	case errors.Is(err, process.ErrGone):
		v.Action = report.MissedKill
	default:
		v.Action = report.KillFailed
		j.log.Error("process not killed", "detector", Name, "err", err)
	}
	j.metrics.missed.Inc()
}

// wouldKill reports whether a process is killed that no allow pattern spares.
func (j *judge) wouldKill(f finding) bool {
	return j.Kill && (f.decision.Rule == rounding.JIT || j.KillUncorroborated || f.memory.randomX() != "")
}

// describe says who a process is, and what was seen of it. docs/logs.md lists
// the keys.
func describe(v *report.Verdict, f finding, p process.Info) {
	v.PPID, v.UID = p.PPID, p.UID
	v.Program = process.Printable([]byte(p.Program), logLimit)
	v.Cmdline = process.Printable(p.Args, logLimit)
	v.Details = []slog.Attr{
		evidence(f),
		slog.String("mappings", f.memory.randomX()),
		slog.Float64("cpu_seconds", p.CPU.Seconds()),
		slog.Int("threads", p.Threads),
	}
}

func evidence(f finding) slog.Attr {
	d := f.decision
	of := "process"
	switch {
	case f.cgroup:
		of = "cgroup"
	case d.Thread != 0:
		of = "thread"
	}
	share := func(key string, x float64) slog.Attr {
		return slog.Float64(key, math.Round(x*1000)/1000)
	}
	return slog.GroupAttrs("evidence",
		slog.String("of", of),
		slog.Float64("window_seconds", math.Round(d.Window.Seconds()*1000)/1000),
		slog.Int("samples", d.Samples),
		share("nearest_share", d.Modes[0]),
		share("down_share", d.Modes[1]),
		share("up_share", d.Modes[2]),
		share("zero_share", d.Modes[3]),
		share("jit_share", d.JIT),
		slog.Int("pairs", d.Pairs),
		share("uneven_chi2", d.Uneven),
		share("dependent_chi2", d.Dependent),
		share("held_share", d.Held),
	)
}
