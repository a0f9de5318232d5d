package monero

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
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
		p, err = j.reader.Read(ctx, h)
		describe(&v, f, p)
		if err == nil || errors.Is(err, process.ErrStuck) { // but for the arguments all is known
			j.act(&v, f, h, p)
			j.Report.Report(v)
			return
		}
	}
	if !errors.Is(err, process.ErrGone) {
		j.metrics.unreadable.Inc()
		j.Log.Warn("process not judged", "detector", Name, "pid", f.key.pid, "err", err)
		j.suspects.forget(f.key) // so that it is tried again, but not at each sample
		return
	}
	describe(&v, f, process.Info{})
	if j.wouldKill(f) {
		j.metrics.missed.Inc()
		v.Action = report.MissedKill
		j.Report.Report(v)
	}
}

// act kills a process, unless it must be spared or only observed, and says so.
func (j *judge) act(v *report.Verdict, f finding, h *process.Handle, p process.Info) {
	rule := f.decision.Rule.String()
	allow := j.Matcher.Allowed([]byte(p.Program), p.Args)
	switch {
	case allow != nil:
		v.Action, v.Allowed = report.Spared, allow.Origin.String()
		j.metrics.spared.WithLabelValues(rule).Inc()
	case !j.wouldKill(f):
		v.Action = report.Observed
		j.metrics.observed.WithLabelValues(rule).Inc()
	default:
		v.Action = report.Killed
		err := h.Kill()
		if err == nil {
			j.metrics.killed.WithLabelValues(rule).Inc()
			return
		}
		if !errors.Is(err, process.ErrGone) {
			j.Log.Error("process not killed", "detector", Name, "err", err)
		}
		v.Action = report.MissedKill
		j.metrics.missed.Inc()
	}
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
	v.Cgroup = process.Printable([]byte(p.Cgroup), logLimit)
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
