package execwhacker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path"
	"strings"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/printable"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/secrets"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// logLimit is the maximum length in bytes of the path of a cgroup in the log.
const logLimit = 4096

// A judge judges running processes in user space: those that a scan finds, and those that the
// kernel left to user space. It is safe for concurrent use.
type judge struct {
	*verdict.Judge
	list *lister // nil without the kernel program
	seed uint64  // of fingerprints
	own  process.FileID

	expressions match.Expressions
}

// A judgement is the result of the rules for a process, and its input.
type judgement struct {
	match.Verdict
	info process.Info
	// paths are the path of the program, which bans are matched against, and those of scripts
	// that it may run. Exemptions and allow patterns apply to any of them.
	paths []string
	// rewritten means that the arguments are not those of the exec any more, so that only
	// the path was matched.
	rewritten bool
	line      report.Verdict // the log line, if the event of the exec has more data
}

// evaluate reads a process and matches it against the rules. The errors are those of
// procread.Reader.Read.
func (j *judge) evaluate(ctx context.Context, h *process.Handle, s suspect, m *match.Matcher) (judgement, error) {
	info, err := j.Reader.Read(ctx, h, s.Cgroup.Owner)
	if err != nil {
		return judgement{info: info}, err
	}
	if s.exec != 0 && j.list != nil {
		// There is no record if the table was full.
		if now := j.list.executes(s.PID); now != 0 && now != s.exec {
			return judgement{}, process.ErrGone // the kernel has judged the new exec
		}
	}
	l := judgement{info: info, rewritten: info.Rewritten}
	if s.arguments != 0 {
		l.rewritten = !s.proves(info.Args, j.seed)
	}
	args := info.Args
	if l.rewritten {
		args = nil
	}
	program, name := names(s, info.Program)
	l.paths = []string{program}
	if s.path == "" {
		l.paths = append(l.paths, process.Scripts(args)...)
	}
	l.Verdict = m.JudgeCommand(match.Command{Path: []byte(program), Name: []byte(name), Area: args, NodeRoot: j.nodeRoot(s)})
	for _, p := range l.paths[1:] {
		if l.Outcome == match.NoMatch || l.Outcome == match.Allowed {
			break
		}
		rest := args
		if i := bytes.Index(args, append([]byte(p), 0)); i > 0 {
			rest = args[i:] // a script and its arguments
		}
		if allow := m.Allowed([]byte(p), rest); allow != nil {
			l.Outcome, l.Allow = match.Allowed, allow
		}
	}
	return l, nil
}

// nodeRoot returns whether a process is exempt as root on the node.
func (j *judge) nodeRoot(s suspect) func() bool {
	return func() bool { return j.Exempt != nil && j.Exempt.NodeRoot(s.Event) }
}

// names returns the path of a process's program, as executed if the exec was seen, otherwise
// that of the file. It also returns the name of the file if the path is a link to a file of
// another name. exe is the target of /proc/PID/exe.
func names(s suspect, exe string) (program, name string) {
	program = s.path
	if program == "" {
		program = executed(s, exe)
	}
	if s.named {
		name = path.Base(executed(s, exe))
	}
	return program, name
}

// executed returns the path of the file that a process executes, without the mark of a deleted
// file.
func executed(s suspect, exe string) string {
	if s.FileDeleted {
		return strings.TrimSuffix(exe, " (deleted)")
	}
	return exe
}

// isOwn reports whether a process executes the agent's own program file, which is allowed with
// any arguments.
func (j *judge) isOwn(s suspect) bool {
	return s.PID == os.Getpid() || s.File == j.own && j.own != process.FileID{}
}

// decide judges the processes of a group and carries out the verdicts. It returns whether these
// are final for all of them until the rules change.
func (j *judge) decide(ctx context.Context, all group, p *detector.Policy, source string, t *tally) bool {
	final := true
	for _, g := range all.byUser() {
		final = j.decideGroup(ctx, g, p, source, t) && final
	}
	return final
}

// decideGroup does so for processes whose arguments are evidence against each other. It uses
// those of a process that has not rewritten them, if there is one.
func (j *judge) decideGroup(ctx context.Context, group group, p *detector.Policy, source string, t *tally) bool {
	var found judgement
	judged, unread := false, 0
	for _, s := range group {
		l, err := j.openAndEvaluate(ctx, s, p.Matcher)
		switch {
		case errors.Is(err, process.ErrGone):
			continue
		case err != nil:
			unread++
			j.unreadable(t, source, s, err)
			continue
		}
		if !judged || found.rewritten {
			found, judged = l, true
		}
		if !l.rewritten {
			break
		}
	}
	if !judged {
		return false
	}
	n := uint64(len(group) - unread)
	t.checked.Add(n)
	if found.Outcome == match.NoMatch {
		t.noMatch.Add(n)
		return unread == 0
	}
	final := unread == 0
	done := outcomes{handled: make(map[process.Instance]bool), spares: unread > 0}
	for _, s := range group {
		action, err := j.carryOut(ctx, s, found, p, source, t)
		done.add(s, action, err)
		final = final && err == nil && action != verdict.Failed && action != verdict.Limited
	}
	if done.kills {
		j.killDescendants(ctx, group[0], &done, found, p, source, t)
	}
	return final
}

// outcomes are what has become of the processes of one exec that is banned.
type outcomes struct {
	handled map[process.Instance]bool
	kills   bool // one was killed, or has ended by itself
	spares  bool // one lives, for whatever reason
}

func (o *outcomes) add(s suspect, action verdict.Action, err error) {
	o.handled[s.Instance()] = true
	dead := err == nil && (action == verdict.Killed || action == verdict.Missed)
	o.kills = o.kills || dead
	o.spares = o.spares || !dead
}

// anyRuns reports whether a process of the group still runs the program of its exec.
func (j *judge) anyRuns(g group) bool {
	for _, p := range g {
		if j.list != nil && p.exec != 0 {
			if now := j.list.executes(p.PID); now != 0 && now != p.exec {
				continue
			}
		}
		if h, err := p.Open(); err == nil {
			h.Close()
			return true
		}
	}
	return false
}

// openAndEvaluate opens a process and evaluates it. The error is process.ErrGone also for a
// process that is never killed.
func (j *judge) openAndEvaluate(ctx context.Context, s suspect, m *match.Matcher) (judgement, error) {
	h, err := s.Open()
	if err != nil {
		return judgement{}, err
	}
	defer h.Close()
	if h.Protected() != nil || j.isOwn(s) {
		return judgement{}, process.ErrGone
	}
	return j.evaluate(ctx, h, s, m)
}

// exemptTimeout bounds the lookup of the container of a running process.
const exemptTimeout = time.Second

// carryOut carries out a judgement on one process. An error means that it is not known yet
// whether the process is exempt.
func (j *judge) carryOut(ctx context.Context, s suspect, l judgement, p *detector.Policy, source string, t *tally) (verdict.Action, error) {
	h, err := s.Open()
	if err != nil {
		h = nil
	} else {
		defer h.Close()
		if h.Protected() != nil || j.isOwn(s) {
			return 0, nil
		}
	}
	v := verdict.Suspect{
		Event: s.Event, Handle: h, Programs: l.paths, Observe: l.Outcome == match.Observed, LogEnv: p.LogEnv,
		Line: j.line(s, l, source), LimitKey: limitKey(l.Ban),
	}
	if l.line.Text != nil {
		v.LogEnv = nil // the event has the environment
	}
	if v.AllowedBy = l.AllowedBy(); l.Spared == rules.NodeRoot {
		v.ExemptBy = exempt.NodeRootExemption
	}
	ctx, cancel := context.WithTimeout(ctx, exemptTimeout)
	defer cancel()
	action, err := j.Decide(ctx, v, &t.Tally)
	switch {
	case err != nil:
		j.unreadable(t, source, s, err)
	case action == verdict.Observed:
		j.note(s.Event, l.Ban)
	}
	return action, err
}

// note tells other detectors of a process that matches a ban and was observed. It is not killed for
// what they find: it may be a search for a pool's name.
func (j *judge) note(p process.Event, ban *rules.Ban) {
	if ban.Likely {
		j.Meet(p, verdict.Sign{Kind: verdict.NamesPool, Text: Name + ": " + ban.Text})
	}
}

// line returns the log line of a process, without the process and the action.
func (j *judge) line(s suspect, l judgement, source string) report.Verdict {
	if l.line.Detector != "" {
		return l.line
	}
	v := report.Verdict{
		Detector: Name,
		Source:   source,
		Program:  report.Program([]byte(l.paths[0])),
		Cmdline:  report.Cmdline(l.info.Args, 0),
		Matched:  report.Matched(j.expressions.Matched(l.Ban, []byte(l.paths[0]), secrets.Hide(l.info.Args, false))),
		Rule:     l.Ban.Origin.String(),
		After:    process.SinceBoot() - s.Start,
	}
	if after, seen := s.seenAfter(process.Monotonic()); seen {
		v.After = after
	}
	if l.rewritten {
		v.Details = append(v.Details, slog.Bool("rewritten", true))
	}
	return v
}

func (j *judge) unreadable(t *tally, source string, s suspect, err error) {
	t.unreadable.Add(1)
	j.Log.Warn("process not judged", "detector", Name, "source", source, "pid", s.PID,
		"cgroup", printable.Text([]byte(s.Cgroup.Path), logLimit), "err", err)
}

// killDescendants kills the processes that still run the program of a banned process: the
// forks that it made before it was killed. done is what has become of the others. If all of
// them are dead, the exec is also condemned in the kernel, which kills its further forks at
// once. If the exec was not seen, processes of other users are not killed: see byUser.
func (j *judge) killDescendants(ctx context.Context, banned suspect, done *outcomes, l judgement, p *detector.Policy, source string, t *tally) {
	exec := banned.exec
	if j.list == nil || exec == 0 {
		return
	}
	before := j.list.ended(exec) // not 0 if it is not the first call for this exec
	if err := j.tryKillDescendants(ctx, banned, done, l, p, source, t); err != nil {
		j.Log.Error("forks of a banned process may be left", "detector", Name, "err", err)
	}
	if now := j.list.ended(exec); now > before {
		n := now - before
		t.forks.Add(n)
		j.Log.Warn("killed forks of a banned process", "detector", Name, "source", source,
			"processes", n, "rule", l.Ban.Origin.String())
	}
}

func (j *judge) tryKillDescendants(ctx context.Context, banned suspect, done *outcomes, l judgement, p *detector.Policy, source string, t *tally) error {
	const maxRounds = 100
	for round := range maxRounds {
		left, err := j.list.of(banned.exec)
		if err != nil {
			return err
		}
		more := false
		for _, s := range left {
			switch {
			case !banned.seen() && s.UID != banned.UID:
				done.spares = true
			case !done.handled[s.Instance()]:
				more = true
				t.checked.Add(1)
				action, err := j.carryOut(ctx, s, l, p, source, t)
				done.add(s, action, err)
			}
		}
		// The kernel then checks neither exemptions nor the kill limit.
		if !done.spares {
			if err := j.list.condemn(banned.exec); err != nil {
				return err
			}
		}
		if !more && round > 0 { // a list can miss a process that is being forked
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}
