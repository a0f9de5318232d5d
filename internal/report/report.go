// Package report tells the operator what was done: one log line a verdict.
package report

import (
	"log/slog"
	"time"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/printable"
)

// Action says what was done to a process.
type Action string

const (
	Killed     Action = "killed"
	Spared     Action = "spared"      // found, but allowed
	Observed   Action = "observed"    // found, and would be killed by a rule or run that kills
	MissedKill Action = "missed-kill" // to be killed, but it ended by itself
	KillFailed Action = "kill-failed" // to be killed, but the kernel refuses; it lives
)

// messages are for people; programs read the action.
var messages = map[Action]string{ //nolint:gochecknoglobals // read only
	Killed:     "killed a process",
	Spared:     "spared a process",
	Observed:   "would kill a process",
	MissedKill: "a process ended before it could be killed",
	KillFailed: "could not kill a process",
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
	Cgroup   cgroup.Cgroup
	Matched  string // the text of the rule
	Rule     string // and its place
	Allowed  string // the place of the rule that spared, or the exemption
	Limited  bool   // observed because of the kill limit
	Env      map[string]string
	// Text, if there is one, sets Program, Cmdline and Env, which take time to make.
	// Report calls it before it returns, but not for a line that it suppresses.
	Text func(*Verdict)
	// After is the time from the exec to the verdict, or from the start of the
	// process where the exec was not seen.
	After   time.Duration
	Details []slog.Attr // the detector's own

	// suppressed is not 0 for a line that stands for so many others.
	suppressed uint64
}

// line returns a verdict that is to be written, with its text, whole or cut.
func (v Verdict) line(whole bool) Verdict {
	if v.Text != nil {
		v.Text(&v)
	}
	if !whole {
		v.Program, v.Cmdline = shorten(v.Program), shorten(v.Cmdline)
	}
	return v
}

// message returns what the line says to people.
func (v *Verdict) message() string {
	if v.suppressed > 0 {
		return "equal verdicts without lines of their own"
	}
	return messages[v.Action]
}

// attrs returns the verdict's part of the line. The keys are listed in
// docs/logs.md.
func (v *Verdict) attrs() []slog.Attr {
	if v.suppressed > 0 {
		return v.summary()
	}
	attrs := make([]slog.Attr, 0, 32) // with the names of a container
	attrs = append(attrs,
		slog.String("action", string(v.Action)),
		slog.String("detector", v.Detector),
		slog.String("source", v.Source),
		slog.Int("pid", v.PID),
		slog.Int("ppid", v.PPID),
		slog.Uint64("uid", uint64(v.UID)),
		slog.String("program", v.Program),
		slog.String("cmdline", v.Cmdline),
		slog.String("cgroup", printable.Text([]byte(v.Cgroup.Path), cgroupLimit)),
	)
	attrs = appendText(attrs, "matched", v.Matched, "rule", v.Rule, "allowedby", v.Allowed)
	if v.Limited {
		attrs = append(attrs, slog.Bool("limited", true))
	}
	attrs = append(attrs, slog.Float64("after_seconds", v.After.Seconds()))
	if len(v.Env) > 0 {
		attrs = append(attrs, slog.Any("env", v.Env))
	}
	return append(attrs, v.Details...)
}

// summary is attrs of a line that stands for others. What is not the same in all of
// them is left out.
func (v *Verdict) summary() []slog.Attr {
	attrs := []slog.Attr{slog.String("action", string(v.Action)), slog.Uint64("suppressed", v.suppressed)}
	if v.Detector != "" {
		attrs = append(attrs, slog.String("detector", v.Detector), slog.String("source", v.Source), slog.Uint64("uid", uint64(v.UID)))
	}
	return appendText(attrs, "cgroup", printable.Text([]byte(v.Cgroup.Path), cgroupLimit), "matched", v.Matched, "rule", v.Rule)
}

// cgroupLimit is the length in bytes of a cgroup's path in the log.
const cgroupLimit = 4096

// appendText appends keys with their values, but for those that are empty.
func appendText(attrs []slog.Attr, pairs ...string) []slog.Attr {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			attrs = append(attrs, slog.String(pairs[i], pairs[i+1]))
		}
	}
	return attrs
}
