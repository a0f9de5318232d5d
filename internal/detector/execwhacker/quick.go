package execwhacker

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/procread"
)

// maxBatches is the number of batches that are read concurrently. A batch that hangs is given
// up after 20 ms: see procread.Reader.ReadMany.
const maxBatches = 2

// quick judges those groups in which no rule matches, nearly all that there are, for a
// small part of what decide takes. All others it sends to rest, or to gone.
//
// It does not find out whether arguments were rewritten: if no rule matches path and
// arguments, none matches the path alone.
func (s *scanner) quick(ctx context.Context, todo []group, p *detector.Policy, rest, gone chan<- group) {
	var workers errgroup.Group
	workers.SetLimit(maxBatches)
	open := make(map[string][]group)
	start := func(owner string) {
		batch := open[owner]
		delete(open, owner)
		workers.Go(func() error {
			s.loop.Progress()
			s.judgeMany(ctx, owner, batch, p, rest, gone)
			return nil
		})
	}
	for _, g := range todo {
		// Without a fingerprint the arguments of one process may not be those of the others.
		if g[0].exec == 0 || s.judge.list == nil || len(g) > 1 && g[0].arguments == 0 {
			rest <- g
			continue
		}
		owner := g[0].Cgroup.Owner
		open[owner] = append(open[owner], g)
		if len(open[owner]) == procread.MaxMany {
			start(owner)
		}
	}
	for owner := range open {
		start(owner)
	}
	_ = workers.Wait()
}

// judgeMany judges a batch of groups of one owner.
func (s *scanner) judgeMany(ctx context.Context, owner string, batch []group, p *detector.Policy, rest, gone chan<- group) {
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
			rest <- g
		}
	}
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
