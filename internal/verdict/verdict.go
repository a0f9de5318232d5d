// Package verdict carries out the verdicts of all detectors: a detector finds a suspect, and
// this package decides whether to kill it, kills it, and logs and counts the verdict. Kernel
// programs of detectors apply the same exemptions and the same kill limit (bpf/verdict.h).
package verdict

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cryptnono/cryptnono/internal/evidence"
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/killlimit"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/report"
)

// A Suspect is a process that a detector has found.
type Suspect struct {
	process.Event
	Handle *process.Handle // nil if the process has ended
	// Programs are the paths by which its program may be exempt: first its own, as executed
	// or as in /proc, then those of scripts that it may run.
	Programs []string
	// AllowedBy is the location of an allow pattern that matches it, "" for none.
	AllowedBy string
	// ExemptBy is an exemption of it that the detector has found, "" for none.
	ExemptBy string
	// Observe is true if the process must only be logged, not killed.
	Observe bool
	// Likely, unless it is zero, says that the suspicion is not certain: the process is only
	// observed, unless the sign meets another one, see Meet.
	Likely Sign
	// Again is true if the suspect was reported before: nothing is done unless Likely meets
	// another sign now.
	Again bool
	// LimitKey identifies the rule for the kill limit (killlimit.Key); 0 if Line.Rule does.
	LimitKey uint64
	// LogEnv are the names of the environment variables to log.
	LogEnv []string
	// Line has the detector's fields of the log line. Decide adds the process, its
	// environment and the action.
	Line report.Verdict
	// Kill, if not nil, is called instead of killing Handle, which is a process of what it kills.
	Kill func() error
	// Confirm, if not nil, is called last before the kill, after all steps that may block.
	// If it returns an error, Decide returns that error and does nothing.
	Confirm func() error
}

// A Judge decides about suspects. It is safe for concurrent use.
type Judge struct {
	Exempt *exempt.Checker    // nil for no exemptions
	Limit  *killlimit.Limiter // nil if all suspects are only observed
	Report *report.Reporter
	Reader *procread.Reader
	// Evidence gathers more about processes for the log; nil for nothing.
	Evidence *evidence.Collector
	Log      *slog.Logger
	signs    signs
}

// environTimeout bounds the delay of a verdict by reading the environment for the log.
const environTimeout = 100 * time.Millisecond

// Decide kills, spares or observes a suspect, logs the action and counts it in t. An error
// means that nothing was done: it is that of Confirm, or it could not be determined before
// ctx ended whether the process is exempt. With Again, Decide may return Observed without that.
func (j *Judge) Decide(ctx context.Context, s Suspect, t *Tally) (Action, error) {
	exemption := s.ExemptBy
	if s.AllowedBy == "" && exemption == "" && j.Exempt != nil {
		var err error
		if exemption, err = j.Exempt.Find(ctx, s.Event, s.Programs[0], s.Programs[1:]...); err != nil {
			return 0, err
		}
	}
	line := s.Line
	if s.Handle != nil && len(s.LogEnv) > 0 {
		line.Env = j.environ(ctx, s, line.Detector)
	}
	other := ""
	if s.Likely.Kind != 0 && s.mayDie(exemption) {
		if err := s.confirm(); err != nil { // before the sign is one of this process
			return 0, err
		}
		other = j.Meet(s.Event, s.Likely)
		line.Details, s.Observe = WithSign(line.Details, other), other == ""
	}
	if s.Again && other == "" {
		return Observed, nil
	}
	about := evidence.Subject{Program: s.Programs[0]}
	if s.mayDie(exemption) && s.Handle != nil {
		about.Opened = j.Evidence.Before(s.Event)
	}
	if err := s.confirm(); err != nil {
		return 0, err
	}
	var action Action
	switch {
	case s.AllowedBy != "":
		action, line.Allowed = Allowed, s.AllowedBy
	case exemption != "":
		action, line.Allowed = Exempt, exemption
	case s.Observe:
		action = Observed
	case s.Handle == nil:
		action = Missed
	default:
		action = j.kill(s, line.Detector)
	}
	t.add(action)
	j.report(action, s.Event, line, about)
	return action, nil
}

// Unread returns the error for which a verdict on a process must wait, of that of procread.Reader.Read. After
// procread.ErrStuck only the arguments are missing, which a process can hold back. But without them, neither
// an exempt script nor what allow patterns spare is known as such: the verdict waits if there are any,
// unless it is the last try. When ctx is canceled, as the agent stops, nothing is read: it waits always.
func (j *Judge) Unread(ctx context.Context, err error, at process.Event, allows, last bool) error {
	switch {
	case !errors.Is(err, procread.ErrStuck):
		return err
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err() //nolint:wrapcheck // it says all
	case !last && (allows || at.HostRoot && j.Exempt != nil && j.Exempt.ByProgram()):
		return err
	}
	return nil
}

func (s *Suspect) confirm() error {
	if s.Confirm == nil {
		return nil
	}
	return s.Confirm()
}

// mayDie reports whether nothing spares the suspect.
func (s *Suspect) mayDie(exemption string) bool {
	return !s.Observe && s.AllowedBy == "" && exemption == ""
}

// Record logs and counts an action that was taken on a process.
func (j *Judge) Record(action Action, p process.Event, line report.Verdict, t *Tally) {
	t.add(action)
	j.report(action, p, line, evidence.Subject{})
}

// report logs an action. about has what is known of the process for the evidence.
func (j *Judge) report(action Action, p process.Event, line report.Verdict, about evidence.Subject) {
	line.Action, line.Limited = action.reported()
	line.PID, line.PPID, line.UID, line.Cgroup = p.PID, p.PPID, p.UID, p.Cgroup
	if action == Killed {
		j.Limit.NoteKill()
	}
	switch action {
	case Killed, Observed, Limited, Missed, Failed:
		about.Event, about.Decided, about.Dead = p, time.Now(), action == Killed || action == Missed
		if e := j.Evidence.Of(about); e != nil {
			line.Evidence = e
		}
	}
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

// kill kills a suspect unless the kill limit forbids it.
func (j *Judge) kill(s Suspect, detector string) Action {
	key := s.LimitKey
	if key == 0 {
		key = killlimit.Key(detector, s.Line.Rule)
	}
	limited, err := j.Limit.Take(key, s.Line.Rule, s.Event)
	switch {
	case err != nil:
		j.Log.Error("process not killed", "detector", detector, "err", err)
		return Failed
	case limited:
		return Limited
	}
	if s.Kill == nil {
		s.Kill = s.Handle.Kill
	}
	return j.signal(s.Kill, detector)
}

func (j *Judge) signal(kill func() error, detector string) Action {
	err := kill()
	switch {
	case err == nil:
		return Killed
	case errors.Is(err, process.ErrGone):
		return Missed
	}
	j.Log.Error("process not killed", "detector", detector, "err", err)
	return Failed
}
