package execwhacker

import (
	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// A generation is what the events of one policy need to be told, with those before
// it, of which events may still come.
type generation struct {
	number uint32
	set    rules.Set
	logEnv []string
	before *generation
}

// maxGenerations is how many are remembered. An event of an older one would have
// waited in the ring buffer while that many policies were applied. Each takes some
// 140 bytes of memory for a ban.
const maxGenerations = 3

// follow returns the generation of a policy that comes after g, which may be nil.
func (g *generation) follow(p detector.Policy) *generation {
	next := &generation{number: 1, set: p.Matcher.Set, logEnv: p.LogEnv, before: g.newest(maxGenerations - 1)}
	if g != nil {
		next.number = g.number + 1
	}
	return next
}

// newest returns a copy of g with that many generations at most.
func (g *generation) newest(limit int) *generation {
	if g == nil || limit == 0 {
		return nil
	}
	return &generation{g.number, g.set, g.logEnv, g.before.newest(limit - 1)}
}

// find returns the generation of that number, nil if it is forgotten.
func (g *generation) find(number uint32) *generation {
	for g != nil && g.number != number {
		g = g.before
	}
	return g
}
