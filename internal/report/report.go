// Package report tells the operator what was done: one log line a verdict.
package report

import (
	"context"
	"log/slog"
	"time"
)

// Action says what was done to a process.
type Action string

const (
	Killed     Action = "killed"
	Spared     Action = "spared"      // found, but allowed
	Observed   Action = "observed"    // found, and would be killed by a rule or run that kills
	MissedKill Action = "missed-kill" // to be killed, but it ended by itself
)

// messages are for people; programs read the action.
var messages = map[Action]string{ //nolint:gochecknoglobals // read only
	Killed:     "killed a process",
	Spared:     "spared a process",
	Observed:   "would kill a process",
	MissedKill: "a process ended before it could be killed",
}

// A Verdict is all that is known of one decision. What is not known is left
// zero and out of the line.
type Verdict struct {
	Action   Action
	Detector string
	Source   string // where the process was seen: the detector's own names
	PID      int
	PPID     int
	UID      uint32 // in the initial user namespace
	Program  string // printable
	Cmdline  string // printable and bounded
	Cgroup   string
	Matched  string // the text of the rule
	Rule     string // and its place
	Allowed  string // the place of the rule that spared
	// After is the time from the exec to the verdict, or from the start of the
	// process where the exec was not seen.
	After   time.Duration
	Details []slog.Attr // the detector's own
}

// A Reporter writes verdicts. It is safe for concurrent use if its handler is,
// as slog's are.
type Reporter struct {
	log *slog.Logger
}

// New returns a reporter that writes to log.
func New(log *slog.Logger) *Reporter {
	return &Reporter{log: log}
}

// Report writes one line. The keys are listed in docs/logs.md.
func (r *Reporter) Report(v Verdict) {
	attrs := []slog.Attr{
		slog.String("action", string(v.Action)),
		slog.String("detector", v.Detector),
		slog.String("source", v.Source),
		slog.Int("pid", v.PID),
		slog.Int("ppid", v.PPID),
		slog.Uint64("uid", uint64(v.UID)),
		slog.String("program", v.Program),
		slog.String("cmdline", v.Cmdline),
		slog.String("cgroup", v.Cgroup),
	}
	if v.Matched != "" {
		attrs = append(attrs, slog.String("matched", v.Matched))
	}
	if v.Rule != "" {
		attrs = append(attrs, slog.String("rule", v.Rule))
	}
	if v.Allowed != "" {
		attrs = append(attrs, slog.String("allowedby", v.Allowed))
	}
	attrs = append(attrs, slog.Float64("after_seconds", v.After.Seconds()))
	attrs = append(attrs, v.Details...)
	r.log.LogAttrs(context.Background(), slog.LevelInfo, messages[v.Action], attrs...) //nolint:sloglint // constant in messages
}
