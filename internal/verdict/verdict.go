// Package verdict is the common end of all detectors: a detector finds a suspect, and this
// package decides whether it is killed, kills it, and logs and counts that. Verdicts that a
// detector's program makes in the kernel go by the same exemptions and the same kill limit
// (bpf/verdict.h).
package verdict

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/killlimit"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/report"
)

// A Suspect is a process that a detector has found.
type Suspect struct {
	process.Event
	// Handle is that of the process, nil if it has ended.
	Handle *process.Handle
	// Programs are the paths by which its program may be exempt: first its own, as it was
	// executed or as /proc has it, then those of scripts that it may run.
	Programs []string
	// AllowedBy is the place of an allow pattern that spares it, "" for none.
	AllowedBy string
	// Observe says that it is not killed, only reported.
	Observe bool
	// LogEnv are the variables of its environment that are logged.
	LogEnv []string
	// Line is what the detector knows for the log line. Decide adds who the process is,
	// its environment, and what was done.
	Line report.Verdict
	// Confirm, if not nil, is called after everything that may take time. Its error ends
	// Decide.
	Confirm func() error
}

// A Judge decides about suspects. It is safe for concurrent use.
type Judge struct {
	Exempt *exempt.Checker    // nil for no exemptions
	Limit  *killlimit.Limiter // nil if all suspects are only observed
	Report *report.Reporter
	Reader *procread.Reader
	Log    *slog.Logger
}

// environTimeout is how long a verdict waits for the environment that is to be logged.
const environTimeout = 100 * time.Millisecond

// Decide kills a suspect, or spares or observes it, logs that and counts it in t. An error
// means that nothing was done: that of Confirm, or that it could not be found out before ctx
// ended whether the process is exempt.
func (j *Judge) Decide(ctx context.Context, s Suspect, t *Tally) (Action, error) {
	exemption := ""
	if s.AllowedBy == "" && j.Exempt != nil { // or it does not matter
		var err error
		if exemption, err = j.Exempt.Find(ctx, s.Event, s.Programs[0], s.Programs[1:]...); err != nil {
			return 0, err
		}
	}
	line := s.Line
	if s.Handle != nil && len(s.LogEnv) > 0 {
		line.Env = j.environ(ctx, s, line.Detector)
	}
	if s.Confirm != nil {
		if err := s.Confirm(); err != nil {
			return 0, err
		}
	}
	var did Action
	switch {
	case s.AllowedBy != "":
		did, line.Allowed = Allowed, s.AllowedBy
	case exemption != "":
		did, line.Allowed = Exempt, exemption
	case s.Observe:
		did = Observed
	case s.Handle == nil:
		did = Missed
	default:
		did = j.kill(s, line.Detector)
	}
	j.Record(did, s.Event, line, t)
	return did, nil
}

// Record logs and counts a verdict that was made on a process.
func (j *Judge) Record(did Action, p process.Event, line report.Verdict, t *Tally) {
	t.add(did)
	j.report(did, p, line)
}

func (j *Judge) report(did Action, p process.Event, line report.Verdict) {
	line.Action, line.Limited = did.reported()
	line.PID, line.PPID, line.UID, line.Cgroup = p.PID, p.PPID, p.UID, p.Cgroup
	j.Report.Report(line)
}

func (j *Judge) environ(ctx context.Context, s Suspect, detector string) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, environTimeout)
	defer cancel()
	env, err := j.Reader.Environ(ctx, s.Handle, s.Cgroup.Owner, s.LogEnv)
	if err != nil {
		j.Log.Debug("environment not read", "detector", detector, "err", err)
	}
	return env
}

// kill kills a suspect unless the kill limit forbids that.
func (j *Judge) kill(s Suspect, detector string) Action {
	limited, err := j.Limit.Take(s.Cgroup)
	if err == nil && limited {
		return Limited
	}
	if err == nil {
		err = s.Handle.Kill()
	}
	switch {
	case err == nil:
		return Killed
	case errors.Is(err, process.ErrGone):
		return Missed
	}
	j.Log.Error("process not killed", "detector", detector, "err", err)
	return Failed
}
