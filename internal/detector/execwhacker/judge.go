package execwhacker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/printable"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// logLimit is the length in bytes of a program or a command line in the log.
const logLimit = 4096

// A judge decides in user space on processes that run: on those that a scan finds
// unjudged, and where the kernel left it to us. It is safe for concurrent use.
type judge struct {
	*verdict.Judge
	list *lister // nil where the kernel keeps no records
	seed uint64  // of fingerprints
	own  process.FileID
}

// A look is what the rules say of a process, and of what.
type look struct {
	match.Verdict
	info process.Info
	// paths are those by which the program may be known. By the first one it is
	// judged; by any it may be spared.
	paths []string
	// rewritten says that the arguments are not those of the exec any more, so that
	// only the path was judged.
	rewritten bool
	// line is what the log line tells, if the kernel has told more than is known here.
	line report.Verdict
}

// look reads and judges a process. The errors are those of procread.Reader.Read.
func (j *judge) look(ctx context.Context, h *process.Handle, s suspect, m *match.Matcher) (look, error) {
	info, err := j.Reader.Read(ctx, h, s.Cgroup.Owner)
	if err != nil {
		return look{info: info}, err
	}
	if s.exec != 0 && j.list != nil {
		// There is no record if the table was full.
		if now := j.list.executes(s.PID); now != 0 && now != s.exec {
			return look{}, process.ErrGone // the kernel has judged what it runs by now
		}
	}
	l := look{info: info, rewritten: info.Rewritten}
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
		l.paths = append(l.paths, scripts(args)...)
	}
	l.Verdict = m.JudgeNamed([]byte(program), []byte(name), args)
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

// names returns the path of a process's program, as it was executed if that was seen,
// otherwise that of the file, and the name of the file if the path leads to one of another
// name. exe is what the kernel's link says.
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

// scripts returns the arguments that may be the path of a script: an interpreter gets that
// behind its own name and, with some, an option.
func scripts(args []byte) (all []string) {
	for i, arg := range strings.SplitN(string(args), "\x00", 4) {
		if (i == 1 || i == 2) && strings.Contains(arg, "/") {
			all = append(all, arg)
		}
	}
	return all
}

// executed returns the path of the file that a process runs, as it was before its removal.
func executed(s suspect, exe string) string {
	if s.FileDeleted {
		return strings.TrimSuffix(exe, " (deleted)")
	}
	return exe
}

// isOwn says whether a process runs the agent's own program file, which may have any
// arguments, as at an exec.
func (j *judge) isOwn(s suspect) bool {
	return s.PID == os.Getpid() || s.File == j.own && j.own != process.FileID{}
}

// decide judges processes that run the same program since the same exec: by one that
// still has the arguments of that, if there is one. It returns whether that is the last
// word on all of them, until the rules change.
func (j *judge) decide(ctx context.Context, all group, p *detector.Policy, source string, t *tally) bool {
	final := true
	for _, g := range all.byUser() {
		final = j.decideAll(ctx, g, p, source, t) && final
	}
	return final
}

// decideAll is decide by the arguments of any of the group.
func (j *judge) decideAll(ctx context.Context, group group, p *detector.Policy, source string, t *tally) bool {
	var found look
	judged, unread := false, 0
	for _, s := range group {
		l, err := j.lookAt(ctx, s, p.Matcher)
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
	final, killing := unread == 0, false
	seen := make(map[process.Who]bool)
	for _, s := range group {
		seen[s.Who] = true
		did, err := j.act(ctx, s, found, p, source, t)
		final = final && err == nil && did != verdict.Failed && did != verdict.Limited
		killing = killing || did == verdict.Killed || did == verdict.Missed
	}
	if killing {
		j.endLine(ctx, group[0], seen, found, p, source, t)
	}
	return final
}

// anyRuns reports whether a process of the group has not ended, and still runs the same.
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

// lookAt is look for a process that is not open yet.
func (j *judge) lookAt(ctx context.Context, s suspect, m *match.Matcher) (look, error) {
	h, err := s.Open()
	if err != nil {
		return look{}, err
	}
	defer h.Close()
	if h.Protected() != nil || j.isOwn(s) {
		return look{}, process.ErrGone
	}
	return j.look(ctx, h, s, m)
}

// exemptTimeout bounds the time for which a running process's container is looked up.
const exemptTimeout = time.Second

// act does to one process what was found. An error means that it is not known yet whether
// the process is exempt.
func (j *judge) act(ctx context.Context, s suspect, l look, p *detector.Policy, source string, t *tally) (verdict.Action, error) {
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
		Line: j.line(s, l, source),
	}
	if l.line.Text != nil {
		v.LogEnv = nil // the kernel has told it
	}
	if l.Outcome == match.Allowed {
		v.AllowedBy = l.Allow.Origin.String()
	}
	ctx, cancel := context.WithTimeout(ctx, exemptTimeout)
	defer cancel()
	did, err := j.Decide(ctx, v, &t.Tally)
	if err != nil {
		j.unreadable(t, source, s, err)
	}
	return did, err
}

// line returns what the log line tells of a process, but for who it is and what was done.
func (j *judge) line(s suspect, l look, source string) report.Verdict {
	if l.line.Detector != "" {
		return l.line
	}
	v := report.Verdict{
		Detector: Name,
		Source:   source,
		Program:  printable.Text([]byte(l.paths[0]), logLimit),
		Cmdline:  printable.Text(l.info.Args, logLimit),
		Matched:  l.Ban.Text,
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

// endLine kills what a banned process has forked and what runs the same program still,
// but for those that were seen to: it was found banned before it could be killed. It is
// condemned in the kernel too, where nothing is quicker. Processes of other users go on if
// the exec was not seen: see byUser.
func (j *judge) endLine(ctx context.Context, banned suspect, seen map[process.Who]bool, l look, p *detector.Policy, source string, t *tally) {
	exec := banned.exec
	if j.list == nil || exec == 0 {
		return
	}
	before := j.list.ended(exec) // it may have been condemned already
	if err := j.tryEndLine(ctx, banned, seen, l, p, source, t); err != nil {
		j.Log.Error("processes that a banned one has forked may be left", "detector", Name, "err", err)
	}
	if now := j.list.ended(exec); now > before {
		n := now - before
		t.forks.Add(n)
		j.Log.Warn("killed what a banned process had forked", "detector", Name, "source", source,
			"processes", n, "rule", l.Ban.Origin.String())
	}
}

func (j *judge) tryEndLine(ctx context.Context, banned suspect, seen map[process.Who]bool, l look, p *detector.Policy, source string, t *tally) error {
	const most = 100 // rounds
	spared := func(s suspect) bool { return !banned.seen() && s.UID != banned.UID }
	left, err := j.list.of(banned.exec)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(left, spared) {
		if err := j.list.condemn(banned.exec); err != nil {
			return err
		}
	}
	for range most {
		left, err := j.list.of(banned.exec)
		if err != nil {
			return err
		}
		more := false
		for _, s := range left {
			if !seen[s.Who] && !spared(s) {
				seen[s.Who], more = true, true
				t.checked.Add(1)
				_, _ = j.act(ctx, s, l, p, source, t)
			}
		}
		if !more {
			break
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}
