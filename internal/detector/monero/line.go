package monero

import (
	"log/slog"
	"math"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/report"
)

// source is the value of the log key and of the metric label.
const source = "rounding"

// newLine returns the log line for a job, without the fields of addProcess.
func newLine(j job) report.Verdict {
	return report.Verdict{
		Detector: Name,
		Source:   source,
		Rule:     Name + " " + j.decision.Rule.String(),
		After:    process.SinceBoot() - j.key.Start,
		Details:  []slog.Attr{evidence(j)},
	}
}

// addProcess adds a process and its resource usage to a log line. docs/monero.md lists
// the keys.
func addProcess(l *report.Verdict, p process.Info, u usage) {
	l.Program, l.Cmdline = report.Program([]byte(p.Program)), report.Cmdline(p.Args, 0)
	l.Details = append(l.Details,
		slog.Uint64("resident_mib", u.resident/mib),
		slog.Uint64("writable_mib", u.writable/mib),
		slog.Float64("cpu_seconds", math.Round(p.CPU.Seconds()*100)/100), // clock ticks
		slog.Int("threads", p.Threads),
	)
}

func evidence(j job) slog.Attr {
	d := j.decision
	of := "process"
	switch {
	case j.cgroup:
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
		slog.Int("located", d.Known),
		share("jit_share", d.JIT),
		slog.Int("pairs", d.Pairs),
		share("uniform_chi2", d.UniformChi2),
		share("independent_chi2", d.IndependentChi2),
		share("repeat_share", d.RepeatShare),
	)
}
