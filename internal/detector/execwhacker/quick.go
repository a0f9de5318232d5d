package execwhacker

import (
	"context"
	"slices"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/procread"
)

// quick judges those groups of an owner in which no rule matches, nearly all that there are, for a
// small part of what decide takes. It returns all others, except those that it sends to gone.
//
// It does not find out whether arguments were rewritten: if no rule matches path and
// arguments, none matches the path alone.
func (s *scanner) quick(ctx context.Context, t *turns, owner string, todo []group, p *detector.Policy, gone chan<- group) (rest []group) {
	var many []group
	for _, g := range todo {
		// Without a fingerprint the arguments of one process may not be those of the others.
		if g[0].exec == 0 || s.judge.list == nil || len(g) > 1 && g[0].arguments == 0 {
			rest = append(rest, g)
			continue
		}
		many = append(many, g)
	}
	for batch := range slices.Chunk(many, procread.MaxMany) {
		t.batches.Do(func() {
			s.loop.Progress()
			rest = append(rest, s.judgeMany(ctx, owner, batch, p, gone)...)
		})
	}
	return rest
}

// judgeMany judges a batch of groups of one owner, as quick does.
func (s *scanner) judgeMany(ctx context.Context, owner string, batch []group, p *detector.Policy, gone chan<- group) (rest []group) {
	wants := make([]procread.Want, len(batch))
	for i, g := range batch {
		wants[i] = procread.Want{PID: g[0].PID, Program: readsProgram(g[0])}
	}
	done := make([]bool, len(batch))
	err := s.judge.Reader.ReadMany(ctx, owner, wants, func(i int, b procread.Brief) {
		g := batch[i]
		if b.Gone {
			gone <- g
			done[i] = true
			return
		}
		unmatched, all := s.judge.matchesNothing(g[0], b, p.Matcher)
		if !unmatched || !all && len(g) > 1 {
			return
		}
		if all {
			s.markJudged(g, nil)
		} else {
			s.markJudged(g, &g[0])
		}
		s.tally.checked.Add(uint64(len(g)))
		s.tally.noMatch.Add(uint64(len(g)))
		done[i] = true
	})
	if err != nil {
		s.judge.Log.Debug("processes not read at once", "detector", Name, "owner", owner, "err", err)
	}
	for i, g := range batch {
		if !done[i] {
			rest = append(rest, g)
		}
	}
	return rest
}

// readsProgram reports whether names needs more than the record.
func readsProgram(s suspect) bool { return s.path == "" || s.named }

// matchesNothing reports whether no rule matches a process, and whether that is true for all
// of its group: their path is known, and a fingerprint proves the arguments.
func (j *judge) matchesNothing(s suspect, b procread.Brief, m *match.Matcher) (unmatched, all bool) {
	if len(b.Args) == 0 {
		return false, false
	}
	program, name := names(s, string(b.Program))
	if program == "" || m.JudgeCommand(match.Command{Path: []byte(program), Name: []byte(name), Area: b.Args}).Outcome != match.NoMatch {
		return false, false
	}
	all = !readsProgram(s) && s.proves(b.Args, j.seed)
	// Without a proof, the arguments may be those of another exec.
	return all || j.list.executes(s.PID) == s.exec, all
}
