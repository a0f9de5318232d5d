package sanity

import (
	"slices"
	"strings"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/rules"
)

const (
	// minBan is the length in bytes of the shortest ban that is accepted, but for
	// programs, of which the whole name is compared.
	minBan = 3
	// safeBan is the length from which on a ban is not warned of.
	safeBan = 5
)

// shortBans finds bans that say too little.
func (f *findings) shortBans(bans []rules.Ban) {
	for _, b := range bans {
		n := size(&b)
		switch {
		case b.Kind == rules.Program:
			if n < minBan {
				f.warn(place(b.Origin), "%q is a short name, which an honest program may have", b.Text)
			}
		case tooShort(&b):
			f.refuse(place(b.Origin), "%q has %d of at least %d bytes, and would match honest command lines everywhere: "+
				"write more of the command line around it", b.Text, n, minBan)
		case n < safeBan:
			f.warn(place(b.Origin), "%q has only %d bytes, so honest command lines are likely to match", b.Text, n)
		}
	}
}

// size is the length of a ban in bytes, without the white space around it, which
// stands between any two arguments.
func size(b *rules.Ban) int { return len(strings.TrimSpace(b.Text)) }

func tooShort(b *rules.Ban) bool { return b.Kind != rules.Program && size(b) < minBan }

// vitalCommands finds bans that match what every node runs.
func (f *findings) vitalCommands(m *match.Matcher) {
	type hit struct {
		ban   *rules.Ban
		first vital
		n     int
	}
	var hits []*hit
	byBan := make(map[*rules.Ban]*hit)
	for _, v := range vitals() {
		verdict := m.Judge([]byte(v.program), v.area())
		found := verdict.Outcome == match.Banned || verdict.Outcome == match.Observed
		if !found || tooShort(verdict.Ban) || f.exempt(v) {
			continue
		}
		h := byBan[verdict.Ban]
		if h == nil {
			h = &hit{ban: verdict.Ban, first: v}
			byBan[verdict.Ban] = h
			hits = append(hits, h)
		}
		h.n++
	}
	for _, h := range hits {
		tell, would := f.refuse, "would kill"
		if h.ban.Action == rules.Observe {
			tell, would = f.warn, "would report"
		}
		tell(place(h.ban.Origin), "%q %s %s (%s), and %d more command lines that nodes run: "+
			"narrow the ban, or spare them by an allow pattern or an exemption",
			short(h.ban.Text), would, h.first.name, short(h.first.command), h.n-1)
	}
}

// exempt reports whether an exemption spares a vital command.
func (f *findings) exempt(v vital) bool {
	e := &f.config.Exemptions
	if v.namespace != "" { // and so no program or cgroup of the host
		return slices.Contains(e.Namespaces, v.namespace)
	}
	return slices.Contains(e.Programs, v.program) || slices.ContainsFunc(e.Cgroups, func(pattern string) bool {
		return covers(pattern, f.config.Containers.CgroupRoot+v.cgroup)
	})
}
