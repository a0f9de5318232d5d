package monero

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/report"
)

const (
	// logLimit is the length in bytes of a program or a command line in the log.
	logLimit = 4096
	// mapsAge is for how long a process's memory map is believed not to have a
	// place that was not in it.
	mapsAge = 500 * time.Millisecond
	// boostStep is for how long one sample in a directed mode raises the rate.
	boostStep = time.Second
)

// A judge acts on samples. It is for one goroutine.
type judge struct {
	Options
	metrics  *metrics
	suspects *suspects
	booster  booster
	reader   process.Reader
}

func newJudge(o Options, m *metrics) *judge {
	return &judge{Options: o, metrics: m, suspects: newSuspects(o.Thresholds), booster: booster{log: o.Log}}
}

// see takes one sample and acts on what it amounts to with those before it.
func (j *judge) see(ctx context.Context, x sample) {
	defer func() { j.metrics.suspects.Set(float64(len(j.suspects.processes))) }()
	if x.mode == newProgram {
		j.suspects.forget(x.process)
		return
	}
	s := j.suspects.find(x)
	if s == nil {
		return
	}
	where := rounding.OtherMemory
	if x.mode != 0 {
		where = j.locate(ctx, s, x)
		if s.boostable(x.at, j.Thresholds.Window) {
			j.booster.boost(ctx, x.cpu, time.Now().Add(boostStep))
		}
	}
	found := j.suspects.add(s, rounding.Sample{
		Thread: x.thread, CPU: x.used, At: x.at, Mode: x.mode, Memory: where,
	})
	for s, d := range found {
		if d.Rule <= s.told {
			continue
		}
		if err := j.decide(ctx, s, d, x.at); err != nil {
			// It has ended, or will be tried again.
			j.suspects.forget(s.key)
		}
	}
}

// locate says where in the process's memory an instruction lay.
func (j *judge) locate(ctx context.Context, s *suspect, x sample) rounding.Memory {
	if where := s.memory.at(x.ip); where != rounding.OtherMemory {
		return where
	}
	if s.mapped != 0 && x.at-s.mapped < mapsAge {
		return rounding.OtherMemory
	}
	j.readMemory(ctx, s, x.at)
	return s.memory.at(x.ip)
}

func (j *judge) readMemory(ctx context.Context, s *suspect, now time.Duration) {
	s.mapped = now
	h, err := s.key.open()
	if err != nil {
		return
	}
	defer h.Close()
	maps, err := j.reader.Maps(ctx, h)
	if err != nil {
		if !errors.Is(err, process.ErrGone) {
			j.metrics.unread.Inc()
		}
		return
	}
	s.memory = parseMaps(maps)
}

// decide kills a process, or reports why it does not. With an error, nothing
// was done.
func (j *judge) decide(ctx context.Context, s *suspect, d rounding.Decision, now time.Duration) error {
	h, err := s.key.open()
	if err != nil {
		return err
	}
	defer h.Close()
	if err := h.Protected(); err != nil {
		s.told = rounding.JIT
		return nil
	}
	p, err := j.reader.Read(ctx, h)
	if err != nil && !errors.Is(err, process.ErrStuck) { // then all but the arguments is known
		return err
	}
	// What RandomX needs was mapped before the first hash; all may have changed
	// since the map was read for a sample's sake.
	j.readMemory(ctx, s, now)
	corroborated := s.memory.randomX()

	v := report.Verdict{
		Detector: Name,
		Source:   "rounding",
		PID:      p.PID,
		PPID:     p.PPID,
		UID:      p.UID,
		Program:  process.Printable([]byte(p.Program), logLimit),
		Cmdline:  process.Printable(p.Args, logLimit),
		Cgroup:   process.Printable([]byte(p.Cgroup), logLimit),
		Rule:     Name + " " + d.Rule.String(),
		After:    process.SinceBoot() - s.key.start,
		Details: []slog.Attr{
			slog.Any("evidence", d),
			slog.String("mappings", corroborated),
			slog.Float64("cpu_seconds", p.CPU.Seconds()),
			slog.Int("threads", p.Threads),
		},
	}
	rule := d.Rule.String()
	switch allow := j.Matcher.Allowed([]byte(p.Program), p.Args); {
	case allow != nil:
		v.Action, v.Allowed = report.Spared, allow.Origin.String()
		j.metrics.spared.WithLabelValues(rule).Inc()
	case !j.Kill || d.Rule != rounding.JIT && corroborated == "" && !j.KillUncorroborated:
		v.Action = report.Observed
		j.metrics.observed.WithLabelValues(rule).Inc()
	default:
		v.Action = j.kill(h, rule)
	}
	// A process that lives on is told of once; one that is killed sends some
	// samples more.
	s.told = d.Rule
	j.Report.Report(v)
	return nil
}

func (j *judge) kill(h *process.Handle, rule string) report.Action {
	err := h.Kill()
	if err == nil {
		j.metrics.killed.WithLabelValues(rule).Inc()
		return report.Killed
	}
	if !errors.Is(err, process.ErrGone) {
		j.Log.Error("process not killed", "detector", Name, "err", err)
	}
	j.metrics.missed.Inc()
	return report.MissedKill
}

// open returns the handle of the process, or process.ErrGone.
func (k key) open() (*process.Handle, error) {
	return process.Event{PID: k.pid, Start: k.start}.Open()
}
