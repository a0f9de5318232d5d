package execwhacker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/cryptnono/cryptnono/internal/guard"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/report"
)

// logLimit is the length in bytes of a program or a command line in the log.
const logLimit = 4096

// A judge decides in user space on processes that run: at a scan, and where the
// kernel left it to us.
type judge struct {
	guard  *guard.Guard // nil at a scan without rights, which kills nobody
	report *report.Reporter
	log    *slog.Logger
	reader *process.Reader
}

// key names one process for good; its pid alone does not.
type key struct {
	pid   int
	start time.Duration
}

// decide judges a process, kills it if it must be, and reports that. A process
// that is found but lives on is not reported again if it is in told; its key is
// returned.
func (j *judge) decide(ctx context.Context, h *process.Handle, policy *Policy, source string, t *tally, told map[key]bool) (key, bool) {
	if h.Protected() != nil {
		return key{}, false
	}
	p, err := j.reader.Read(ctx, h, "")
	if errors.Is(err, process.ErrGone) {
		return key{}, false
	}
	if err != nil {
		j.unreadable(t, source, err)
		return key{}, false
	}
	if ownProgram(p.PID) {
		return key{}, false
	}
	t.checked.Add(1)
	verdict := policy.Matcher.Judge([]byte(p.Program), p.Args)
	if verdict.Outcome == match.NoMatch {
		t.noMatch.Add(1)
		return key{}, false
	}
	at, by, err := j.exempt(ctx, p)
	switch {
	case errors.Is(err, process.ErrGone):
		return key{}, false
	case err != nil: // it is judged again at the next scan
		j.unreadable(t, source, err)
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
		Cgroup:   at.Path(),
		Matched:  verdict.Ban.Text,
		Rule:     verdict.Ban.Origin.String(),
		After:    process.SinceBoot() - p.Start,
	}
	if v.Env, err = j.reader.Environ(ctx, h, "", policy.LogEnv); err != nil {
		j.log.Debug("environment not read", "detector", Name, "err", err)
	}
	switch {
	case verdict.Outcome == match.Allowed:
		t.allowed.Add(1)
		v.Action, v.Allowed = report.Spared, verdict.Allow.Origin.String()
	case by != "":
		t.exempt.Add(1)
		v.Action, v.Allowed = report.Spared, by
	case verdict.Outcome == match.Observed:
		t.observed.Add(1)
		v.Action = report.Observed
	default:
		v.Action, v.Braked = j.kill(h, at, t)
	}
	k := key{p.PID, p.Start}
	if !told[k] {
		j.report.Report(v)
	}
	return k, v.Action != report.Killed && v.Action != report.MissedKill // it lives on
}

// exempt returns where a process is, and by which exemption it must live.
func (j *judge) exempt(ctx context.Context, p process.Info) (at process.Cgroup, by string, err error) {
	if j.guard == nil {
		return process.Cgroup{}, "", nil
	}
	located, err := j.guard.Locate(p.PID)
	if err != nil {
		return process.Cgroup{}, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, exemptTimeout)
	defer cancel()
	by, err = j.guard.Exempt(ctx, p.PID, p.Program, located.Cgroup)
	return located.Cgroup, by, err
}

// exemptTimeout bounds the time for which a running process's container is asked
// for.
const exemptTimeout = time.Second

func (j *judge) unreadable(t *tally, source string, err error) {
	t.unreadable.Add(1)
	j.log.Warn("process not judged", "detector", Name, "source", source, "err", err)
}

// ownProgram says whether a process runs the agent's own program file, which may
// have any arguments, as at an exec.
func ownProgram(pid int) bool {
	own, err1 := os.Stat("/proc/self/exe")
	its, err2 := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
	return err1 == nil && err2 == nil && os.SameFile(own, its)
}

// kill kills a process unless the brake withholds that, and says what was done.
func (j *judge) kill(h *process.Handle, at process.Cgroup, t *tally) (done report.Action, braked bool) {
	err := j.guard.Kill(h, at)
	switch {
	case err == nil:
		t.killed.Add(1)
		return report.Killed, false
	case errors.Is(err, guard.ErrBraked):
		t.withheld.Add(1)
		return report.Observed, true
	case errors.Is(err, process.ErrGone):
		t.missed.Add(1)
		return report.MissedKill, false
	}
	j.log.Error("process not killed", "detector", Name, "err", err)
	t.missed.Add(1)
	return report.KillFailed, false
}
