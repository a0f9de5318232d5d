package escalate

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/killlimit"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// take takes a step in a container. It returns false if the step is still due.
func (e *Escalator) take(ctx context.Context, s *Settings, step string, action rules.Action, k killlimit.Kills,
	list func() ([]process.Event, error),
) (done bool, err error) {
	rule, stopped := e.Judge.Limit.RuleOf(k.Rule)
	if stopped {
		return true, nil
	}
	all, err := list()
	if err != nil {
		return false, err
	}
	t, ok := targetOf(all, k.Cgroup, s.Sessions)
	if !ok {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	by, err := e.spared(ctx, t, step)
	if err != nil {
		return false, err
	}
	v := verdict.Suspect{ExemptBy: by, Observe: action == rules.Observe}
	v.Line = report.Verdict{
		Detector: Name, Rule: rule,
		Details: []slog.Attr{slog.Uint64("kills", k.Made), slog.Float64("within_seconds", s.Within.Seconds())},
	}
	var failed []error // of processes that cannot be read, which must not keep others from being ended
	if step == stepParent {
		v.Line.About = "a parent process"
		decided := 0
		for _, p := range t.processes {
			if k.StartedBy(p.Instance()) < again || p.Instance() == t.first.Instance() {
				continue
			}
			_, err := e.decide(ctx, v, step, p)
			switch {
			case err == nil:
				decided++
			case ctx.Err() != nil:
				return false, err
			case !errors.Is(err, process.ErrGone):
				failed = append(failed, err)
			}
		}
		if decided > 0 || len(failed) == 0 { // the next kills show whether there is another one
			return true, nil
		}
		return false, errors.Join(failed...)
	}
	v.Line.About = "a container"
	if t.session {
		step, v.Line.About = stepSession, "a session"
	}
	v.Kill = func() error { return e.end(ctx, t) }
	for _, p := range t.standIns() {
		// One that has ended can be listed for as long as its parent or its tracer likes: a zombie.
		done, err = e.decide(ctx, v, step, p)
		if err == nil || ctx.Err() != nil {
			return done, err
		}
		if !errors.Is(err, process.ErrGone) {
			failed = append(failed, err)
		}
	}
	return false, errors.Join(failed...) // nil if all have ended
}

// decide has a verdict carried out on a process, or on all that it stands for. It returns false if that
// failed. The error is process.ErrGone if the process has ended.
func (e *Escalator) decide(ctx context.Context, v verdict.Suspect, step string, p process.Event) (done bool, err error) {
	h, err := p.Open()
	if err != nil {
		return false, err
	}
	defer h.Close()
	info, err := e.describe(ctx, h, p)
	if err != nil {
		return false, err
	}
	v.Event, v.Handle, v.Programs, v.LimitKey = p, h, info.Paths(), limitKey(step)
	v.Line.Source, v.Line.Program, v.Line.After = step, report.Program([]byte(info.Program)), process.SinceBoot()-p.Start
	action, err := e.Judge.Decide(ctx, v, e.steps[step])
	return err == nil && action != verdict.Failed, err
}

// A target is a container, or the session of a user.
type target struct {
	key       cgroup.Key
	path      []string // names of its cgroup and of those above
	container cgroup.ContainerRef
	session   bool
	uid       uint32 // of the session
	processes []process.Event
	first     process.Event // the oldest, from outside
}

// standIns returns the processes in the order in which they can stand for all: the oldest of a container, and
// the user's oldest of a session, which a process of root begins, of the same program for all users.
func (t *target) standIns() []process.Event {
	rank := func(p process.Event) int {
		if t.session && p.UID != t.uid {
			return 1
		}
		return 0
	}
	all := append([]process.Event{t.first}, t.processes...) // first among those of the same time
	slices.SortStableFunc(all, func(a, b process.Event) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Start, b.Start))
	})
	return all
}

// targetOf finds a container among all processes by its cgroup. With sessions it also finds what
// systemd has made for a user other than root: /user.slice/user-UID.slice/session-*.scope or
// user@*.service. It returns false if there is neither, or no process in it.
func targetOf(all []process.Event, key cgroup.Key, sessions bool) (*target, bool) {
	t := &target{key: key}
	parents := make(map[int]bool)
	for _, p := range all {
		at := slices.IndexFunc(p.Cgroup.Levels, func(l cgroup.Level) bool { return l.ID == key.ID })
		if at < 0 || p.Cgroup.Hierarchy != key.Hierarchy {
			continue
		}
		switch ref := p.Cgroup.Container; {
		case ref.Contained() && ref.Level == at:
			t.container = ref
		case sessions && !ref.Contained() && at == killlimit.SessionLevel:
			if t.uid, t.session = sessionOf(p.Cgroup.Levels); !t.session {
				return nil, false
			}
		default:
			return nil, false
		}
		if t.path == nil {
			for _, l := range p.Cgroup.Levels[:at+1] {
				t.path = append(t.path, l.Name)
			}
		}
		t.processes = append(t.processes, p)
		parents[p.PID] = true
	}
	for i, p := range t.processes {
		f := &t.first
		older := p.Start < f.Start || p.Start == f.Start && parents[f.PPID] && !parents[p.PPID]
		if i == 0 || older {
			*f = p
		}
	}
	return t, len(t.processes) > 0
}

// sessionOf returns the user of the third level, if it is of one other than root.
func sessionOf(levels []cgroup.Level) (uid uint32, ok bool) {
	matches := func(at int, patterns ...string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { ok, _ := path.Match(p, levels[at].Name); return ok })
	}
	name, _ := strings.CutPrefix(strings.TrimSuffix(levels[1].Name, ".slice"), "user-")
	id, err := strconv.ParseUint(name, 10, 32)
	ok = matches(0, "user.slice") && matches(1, "user-*.slice") && matches(2, "session-*.scope", "user@*.service")
	return uint32(id), ok && err == nil && id != 0
}

// describe reads a process: with its arguments, which it can hold back, only if it may run an exempt
// script, and if they can be read in time. After the end of ctx, which the reads of others may have used up,
// the error is that of ctx: without arguments, an exempt script would not be known as one.
func (e *Escalator) describe(ctx context.Context, h *process.Handle, p process.Event) (info process.Info, err error) {
	if !p.HostRoot || !e.Judge.Exempt.ByProgram() {
		info, _, err = process.Describe(p.PID)
		return info, err //nolint:wrapcheck // it says all
	}
	info, err = e.Judge.Reader.Read(ctx, h, p.Cgroup.Owner)
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case errors.Is(err, procread.ErrStuck):
		err = nil
	}
	return info, err //nolint:wrapcheck // it says all
}

// paths returns the paths by which the program of a process may be exempt: those that the processes of the
// host see. The error is that of ctx, if it has ended.
func (e *Escalator) paths(ctx context.Context, p process.Event) ([]string, error) {
	if !p.HostRoot {
		return []string{""}, nil
	}
	h, err := p.Open()
	if err != nil {
		return []string{""}, nil // it has ended
	}
	defer h.Close()
	info, _ := e.describe(ctx, h, p) // empty after an error
	return info.Paths(), ctx.Err()   //nolint:wrapcheck // it says all
}

// spared returns why a target is spared, "" if nothing spares it. The exemptions of the container itself
// are those of each of its processes, which the judge looks up. An error means that this is not known yet,
// for example because ctx has ended before all processes were read.
func (e *Escalator) spared(ctx context.Context, t *target, step string) (by string, err error) {
	for _, p := range t.processes {
		switch {
		case p.PID == os.Getpid():
			return "the agent's own container", nil
		case p.PID == 1:
			return "the init process", nil
		}
		if step == stepParent {
			continue
		}
		paths, err := e.paths(ctx, p)
		if err != nil {
			return "", err
		}
		by := e.Judge.Exempt.Known(p, paths[0])
		if by == "" || by == exempt.NodeRootExemption {
			if by, err = e.Judge.Exempt.Script(ctx, p, paths[1:]); err != nil {
				return "", err
			}
		}
		if by != "" {
			return by, nil
		}
	}
	if t.container.PodUID == "" {
		return "", nil
	}
	// Without a name from its runtime it could be that.
	c, err := e.Containers.Lookup(ctx, t.container)
	if err == nil && c.Name == "" {
		by = "the pause container of a pod"
	}
	return by, err
}
