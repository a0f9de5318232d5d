package sanity

import (
	"slices"
	"strings"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/rules"
)

const (
	// minBan is the minimum length in bytes of a ban. Program names can be shorter,
	// because they are compared as a whole.
	minBan = 3
	// safeBan is the minimum length in bytes of a ban without a warning.
	safeBan = 5
)

// shortBans reports bans that are too short to be specific.
func (f *findings) shortBans(bans []rules.Ban) {
	for _, b := range bans {
		n := size(&b)
		switch {
		case b.Parts != nil: // match.Compile refuses those that are too short
		case b.Kind == rules.Program && b.IsOpen() && n < minBan:
			f.refuse(b.Origin.Place(), "%q has %d of at least %d bytes before the \"*\" and would match many legitimate programs: write more of the name",
				b.Text, n, minBan)
		case b.Kind == rules.Program:
			if n < minBan {
				f.warn(b.Origin.Place(), "%q is a short name, which a legitimate program can have", b.Text)
			}
		case tooShort(&b):
			f.refuse(b.Origin.Place(), "%q has %d of at least %d bytes and would match many legitimate command lines: "+
				"write more of the command line", b.Text, n, minBan)
		case n < safeBan:
			f.warn(b.Origin.Place(), "%q has only %d bytes, so legitimate command lines are likely to match", b.Text, n)
		}
	}
}

// size is the length of a ban in bytes without the white space around it, which occurs
// between any two arguments, and without the "*" of an open name.
func size(b *rules.Ban) int {
	if b.IsOpen() {
		return len(b.Text) - 1
	}
	return len(strings.TrimSpace(b.Text))
}

func tooShort(b *rules.Ban) bool {
	return b.Parts == nil && (b.Kind != rules.Program || b.IsOpen()) && size(b) < minBan
}

// nodeEnvironment returns an environment with variables that most programs of a node have, as
// match.Command.Env.
func nodeEnvironment() []byte {
	return match.Area([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "USER=root", "LOGNAME=root", "SHELL=/bin/bash",
		"PWD=/root", "LANG=C.UTF-8", "TERM=xterm-256color", "HOSTNAME=node-1", "INVOCATION_ID=0123456789abcdef0123456789abcdef",
		"JOURNAL_STREAM=9:12345", "KUBERNETES_SERVICE_HOST=10.96.0.1", "KUBERNETES_SERVICE_PORT=443", "KUBERNETES_PORT=tcp://10.96.0.1:443",
		"NODE_NAME=node-1", "POD_NAME=pod-1", "POD_NAMESPACE=default", "JUPYTERHUB_USER=jovyan",
	})
}

// environments warns of rule files that kill by the environment.
func (f *findings) environments(bans []rules.Ban) {
	warned := make(map[string]bool) // by file
	for _, b := range bans {
		if b.Environment != rules.Kill || warned[b.Origin.File] || strings.HasPrefix(b.Origin.File, "builtin/") {
			continue
		}
		warned[b.Origin.File] = true
		f.warn(b.Origin.Place(), "the file has \"environment: kill\": each process of a container inherits its variables, so that all of them are killed")
	}
}

// vitalCommands reports bans that match commands of every node.
func (f *findings) vitalCommands(m *match.Matcher) {
	type hit struct {
		ban    *rules.Ban
		first  vital
		action rules.Action
		where  string
		n      int
	}
	var hits []*hit
	byBan := make(map[*rules.Ban]*hit)
	env := nodeEnvironment()
	for _, v := range vitals() {
		verdict := m.JudgeCommand(match.Command{Path: []byte(v.program), Area: v.area(), Env: env})
		found := verdict.Outcome == match.Banned || verdict.Outcome == match.Observed
		if !found || tooShort(verdict.Ban) || f.exempt(v) {
			continue
		}
		h := byBan[verdict.Ban]
		if h == nil {
			h = &hit{ban: verdict.Ban, first: v, action: verdict.Ban.Action}
			if verdict.InEnvironment {
				h.action, h.where = verdict.Ban.Environment, " for its environment"
			}
			byBan[verdict.Ban] = h
			hits = append(hits, h)
		}
		h.n++
	}
	for _, h := range hits {
		add, would := f.refuse, "would kill"
		if h.action == rules.Observe {
			add, would = f.warn, "would report"
		}
		add(h.ban.Origin.Place(), "%q %s %s (%s)%s and %d more command lines of nodes: "+
			"narrow the ban, or add an allow pattern or an exemption",
			short(h.ban.Text), would, h.first.name, short(h.first.command), h.where, h.n-1)
	}
}

// exempt reports whether a vital command is exempt.
func (f *findings) exempt(v vital) bool {
	e := &f.config.Exemptions
	if v.namespace != "" { // exemptions by program and cgroup are for the host
		return slices.Contains(e.Namespaces, v.namespace)
	}
	return slices.Contains(e.Programs, v.program) || slices.ContainsFunc(e.Cgroups, func(pattern string) bool {
		return covers(pattern, f.config.Containers.CgroupRoot+v.cgroup)
	})
}
