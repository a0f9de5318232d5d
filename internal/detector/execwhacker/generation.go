package execwhacker

import (
	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/pin"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// A generation has the data of a policy that its events refer to. It links to the generation
// before, whose events may still be in the ring buffer.
type generation struct {
	number      uint32
	set         rules.Set
	rules       string // identifies set; "" if it is not known, which is of an agent before
	expressions *match.Expressions
	logEnv      []string
	before      *generation
}

// maxGenerations is the number of generations that are kept. An event of an older one would
// have been in the ring buffer while that many policies were applied. A generation takes some
// 140 bytes for each ban.
const maxGenerations = 3

// next returns the generation of a policy that replaces that of g. id identifies its rules.
func (g *generation) next(p detector.Policy, id string) *generation {
	return &generation{
		number: g.number + 1, set: p.Matcher.Set, rules: id, expressions: new(match.Expressions), logEnv: p.LogEnv,
		before: g.truncate(maxGenerations - 1),
	}
}

// inherited returns the last generation of the agent before. If its rules are not those of p, they
// are not known.
func inherited(before pin.State, p detector.Policy, id string) *generation {
	if before.Rules != id {
		return &generation{number: before.Generation}
	}
	return &generation{number: before.Generation, set: p.Matcher.Set, rules: id, expressions: new(match.Expressions), logEnv: p.LogEnv}
}

// numberOf returns the number that g and those before have for a generation of another agent,
// whose last generation has these rules; 0 if there is none.
func (g *generation) numberOf(rules string, last, number uint32) uint32 {
	for ; g != nil && number == last; g = g.before {
		if g.rules == rules {
			return g.number
		}
	}
	return 0
}

// truncate returns a copy of g with at most that many generations.
func (g *generation) truncate(limit int) *generation {
	if g == nil || limit == 0 {
		return nil
	}
	kept := *g
	kept.before = g.before.truncate(limit - 1)
	return &kept
}

// find returns the generation with a number, nil if it is not kept any more or its rules are not
// known.
func (g *generation) find(number uint32) *generation {
	for g != nil && g.number != number {
		g = g.before
	}
	if g != nil && g.rules == "" {
		return nil
	}
	return g
}
