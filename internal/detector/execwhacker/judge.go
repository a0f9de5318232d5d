package execwhacker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/report"
)

// logLimit is the length in bytes of a program or a command line in the log.
const logLimit = 4096

// A judge decides in user space on processes that run: at a scan, and where the
// kernel left it to us.
type judge struct {
	matcher *match.Matcher
	report  *report.Reporter
	log     *slog.Logger
	reader  process.Reader
}

func newJudge(o Options) *judge {
	return &judge{matcher: o.Matcher, report: o.Report, log: o.Log}
}

// key names one process for good; its pid alone does not.
type key struct {
	pid   int
	start time.Duration
}

// decide judges a process, kills it if it must be, and reports that. A process
// that is found but lives on is not reported again if it is in told; its key is
// returned.
func (j *judge) decide(ctx context.Context, h *process.Handle, source string, t *tally, told map[key]bool) (key, bool) {
	if h.Protected() != nil {
		return key{}, false
	}
	p, err := j.reader.Read(ctx, h)
	if errors.Is(err, process.ErrGone) {
		return key{}, false
	}
	if err != nil {
		t.unreadable.Add(1)
		j.log.Warn("process not judged", "detector", Name, "source", source, "err", err)
		return key{}, false
	}

	if ownProgram(p.PID) {
		return key{}, false
	}
	t.checked.Add(1)
	verdict := j.matcher.Judge([]byte(p.Program), p.Args)
	if verdict.Outcome == match.NoMatch {
		t.noMatch.Add(1)
		return key{}, false
	}
	v := report.Verdict{
		Detector: Name,
		Source:   source,
		PID:      p.PID,
		PPID:     p.PPID,
		UID:      p.UID,
		Program:  process.Printable([]byte(p.Program), logLimit),
		Cmdline:  process.Printable(p.Args, logLimit),
		Cgroup:   process.Printable([]byte(p.Cgroup), logLimit),
		Matched:  verdict.Ban.Text,
		Rule:     verdict.Ban.Origin.String(),
		After:    process.SinceBoot() - p.Start,
	}
	switch verdict.Outcome {
	case match.Banned:
		v.Action = j.kill(h, t)
		j.report.Report(v)
		return key{}, false
	case match.Allowed:
		t.allowed.Add(1)
		v.Action, v.Allowed = report.Spared, verdict.Allow.Origin.String()
	default:
		t.observed.Add(1)
		v.Action = report.Observed
	}
	k := key{p.PID, p.Start}
	if !told[k] {
		j.report.Report(v)
	}
	return k, true
}

// ownProgram says whether a process runs the agent's own program file, which may
// have any arguments, as at an exec.
func ownProgram(pid int) bool {
	own, err1 := os.Stat("/proc/self/exe")
	its, err2 := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
	return err1 == nil && err2 == nil && os.SameFile(own, its)
}

func (j *judge) kill(h *process.Handle, t *tally) report.Action {
	err := h.Kill()
	if err == nil {
		t.killed.Add(1)
		return report.Killed
	}
	if !errors.Is(err, process.ErrGone) {
		j.log.Error("process not killed", "detector", Name, "err", err)
	}
	t.missed.Add(1)
	return report.MissedKill
}
