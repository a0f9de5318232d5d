package execwhacker

import (
	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// A generation has the data of a policy that its events refer to. It links to the generation
// before, whose events may still be in the ring buffer.
type generation struct {
	number      uint32
	set         rules.Set
	expressions *match.Expressions
	logEnv      []string
	before      *generation
}

// maxGenerations is the number of generations that are kept. An event of an older one would
// have been in the ring buffer while that many policies were applied. A generation takes some
// 140 bytes for each ban.
const maxGenerations = 3

// next returns the generation of a policy that replaces that of g. g may be nil.
func (g *generation) next(p detector.Policy) *generation {
	next := &generation{number: 1, set: p.Matcher.Set, expressions: new(match.Expressions), logEnv: p.LogEnv, before: g.truncate(maxGenerations - 1)}
	if g != nil {
		next.number = g.number + 1
	}
	return next
}

// truncate returns a copy of g with at most that many generations.
func (g *generation) truncate(limit int) *generation {
	if g == nil || limit == 0 {
		return nil
	}
	return &generation{g.number, g.set, g.expressions, g.logEnv, g.before.truncate(limit - 1)}
}

// find returns the generation with a number, nil if it is not kept any more.
func (g *generation) find(number uint32) *generation {
	for g != nil && g.number != number {
		g = g.before
	}
	return g
}
