// Package report writes verdicts to the log, one line each.
package report

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/printable"
	"github.com/cryptnono/cryptnono/internal/secrets"
)

// Action is what was done with a process that matched.
type Action string

const (
	Started    Action = "" // no verdict: a program that no rule matches
	Killed     Action = "killed"
	Spared     Action = "spared"      // an allow pattern or an exemption applies
	Observed   Action = "observed"    // not killed, because of the action observe or the kill limit
	MissedKill Action = "missed-kill" // had ended, or another agent was killing it
	KillFailed Action = "kill-failed" // the kernel refused the kill; the process lives
	Refused    Action = "refused"     // not killed, but its connection was refused
	Busy       Action = "busy"        // no verdict: its container computes, and nothing is known
)

// messages are for people; programs read the action.
var messages = map[Action]string{ //nolint:gochecknoglobals // read only
	Started:    "a program started",
	Killed:     "killed a process",
	Spared:     "spared a process",
	Observed:   "observed a process",
	MissedKill: "a process had ended, or was being killed already",
	KillFailed: "could not kill a process",
	Refused:    "refused a connection",
	Busy:       "a container computes and moves very little",
}

// Actions returns the actions of verdicts, sorted.
func Actions() []Action {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(messages)), func(a Action) bool { return a == Started })
}

// A Verdict is the data of one decision. The line does not contain unknown values, which
// are zero.
type Verdict struct {
	Action   Action
	Detector string
	Source   string // where the process was detected, as named by the detector
	PID      int
	PPID     int
	UID      uint32 // in the initial user namespace
	Program  string // as Program returns it
	Cmdline  string // as Cmdline returns it
	Cgroup   cgroup.Cgroup
	Matched  string // text of the ban
	Rule     string // place of the ban
	Allowed  string // place of the allow pattern, or the exemption
	Limited  bool   // observed because of the kill limit
	About    string // what was killed or spared, "" for a process
	Env      map[string]string
	// Text, if not nil, sets Program, Cmdline and Env, which are expensive to format.
	// Report calls it before it returns, except for a suppressed line.
	Text func(*Verdict)
	// After is the time from the exec to the verdict, or from the start of the process if
	// the exec was not observed.
	After   time.Duration
	Details []slog.Attr // of the detector
	// Evidence, if not nil, has more attributes, which take time to gather. The line waits for
	// them, but Report does not.
	Evidence Evidence

	evidence []slog.Attr // that was gathered

	// suppressed is the number of suppressed lines that this line summarises, else 0.
	suppressed uint64
}

// Evidence is what is found out about a process after the verdict.
type Evidence interface {
	// Gather returns attributes of the line, and those of another line about the container of the
	// process, nil for none. It returns soon after ctx ends.
	Gather(ctx context.Context) (line, container []slog.Attr)
	// Drop is called in its place if too many lines are waiting.
	Drop()
}

// cmdlineLimit is the maximum length of a path or a command line in the log, in bytes.
const cmdlineLimit = 4096

// Program returns the path of a program for Verdict.Program.
func Program(path []byte) string { return printable.Text(path, cmdlineLimit) }

// Matched returns what of a command line a rule matches, for Verdict.Matched.
func Matched(text string) string { return printable.Text([]byte(text), cmdlineLimit) }

// Cmdline returns arguments for Verdict.Cmdline, with secrets hidden: those from argv[0] on, each
// terminated by a NUL, of which omitted bytes are missing at the end.
func Cmdline(area []byte, omitted int) string {
	if more := len(area) - cmdlineLimit; more > 0 {
		area, omitted = area[:cmdlineLimit], omitted+more
	}
	return printable.Args(secrets.Hide(area, omitted > 0), omitted, cmdlineLimit)
}

// line returns a verdict with its text, which is shortened unless whole is set.
func (v Verdict) line(whole bool) Verdict {
	if v.Text != nil {
		v.Text(&v)
	}
	if !whole {
		v.Program, v.Cmdline = printable.Short(v.Program, shortText), printable.Short(v.Cmdline, shortText)
	}
	return v
}

// message returns the text of the line.
func (v *Verdict) message() string {
	if v.suppressed > 0 {
		return "equal verdicts suppressed"
	}
	if v.About != "" {
		return strings.Replace(messages[v.Action], "a process", v.About, 1)
	}
	return messages[v.Action]
}

// attrs returns the attributes of the verdict. docs/logs.md lists the keys.
func (v *Verdict) attrs() []slog.Attr {
	if v.suppressed > 0 {
		return v.summary()
	}
	attrs := make([]slog.Attr, 0, 32) // including those of a container
	attrs = append(appendText(attrs, "action", string(v.Action)),
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
	return append(append(attrs, v.Details...), v.evidence...)
}

// summary returns the attributes of a summary, without those that differ between the
// suppressed lines.
func (v *Verdict) summary() []slog.Attr {
	attrs := []slog.Attr{slog.String("action", string(v.Action)), slog.Uint64("suppressed", v.suppressed)}
	if v.Detector != "" {
		attrs = append(attrs, slog.String("detector", v.Detector), slog.String("source", v.Source), slog.Uint64("uid", uint64(v.UID)))
	}
	return appendText(attrs, "cgroup", printable.Text([]byte(v.Cgroup.Path), cgroupLimit), "matched", v.Matched, "rule", v.Rule)
}

// cgroupLimit is the maximum length of a cgroup's path in the log, in bytes.
const cgroupLimit = 4096

// appendText appends the pairs of key and value whose value is not empty.
func appendText(attrs []slog.Attr, pairs ...string) []slog.Attr {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			attrs = append(attrs, slog.String(pairs[i], pairs[i+1]))
		}
	}
	return attrs
}
