package match

import (
	"regexp/syntax"
	"slices"
	"strings"
)

// Expressions are only evaluated for command lines with a trigger, which is cheap to find:
// a text that each match of an expression contains, or a run of letters and digits. A
// combination needs a trigger for one of its parts.

const (
	// minTrigger is the least length of a text in bytes.
	minTrigger = 4
	// RunBytes is the length of a run: as many bytes in a row that are '0' or greater, as
	// letters, digits, ':' and '=' are.
	RunBytes = 31
	// maxTriggers bounds the texts for one expression.
	maxTriggers = 4096
)

// endOfText stands for the end in a trigger's text. Its symbol is that of the byte which a
// search reads after each command line.
const endOfText = "\xff"

// wordEdge stands for \b at the beginning of a trigger's text.
const wordEdge = "\xfe"

// A trigger is what each match of an expression contains: one of texts, in lower case, or a
// run.
type trigger struct {
	texts []string
	run   bool
}

// better reports whether t is rarer in command lines than other, or cheaper to find.
func (t trigger) better(other trigger) bool {
	if r, o := t.rank(), other.rank(); r != o {
		return r > o
	}
	return len(t.texts) < len(other.texts)
}

// rank is 0 for no trigger. A text that is longer than what the filter compares is not
// better for that.
func (t trigger) rank() int {
	switch n := shortest(t.texts); {
	case n >= minTrigger:
		return min(n, maxPrefix)
	case t.run:
		return minTrigger
	}
	return 0
}

func shortest(texts []string) int {
	if len(texts) == 0 || len(texts) > maxTriggers {
		return 0
	}
	least := maxTriggers
	for _, text := range texts {
		least = min(least, len(text)-strings.Count(text, wordEdge))
	}
	return least
}

// triggerOf returns the best trigger of an expression, with rank 0 if there is none.
func triggerOf(re *syntax.Regexp) trigger {
	f := factsOf(re.Simplify())
	best := f.best
	if t := (trigger{texts: f.exact}); t.better(best) {
		best = t
	}
	if t := (trigger{run: f.run.longest >= RunBytes}); t.better(best) {
		best = t
	}
	return best
}

// facts are what is known of all texts that an expression matches.
type facts struct {
	exact []string // all of them, in lower case; nil if these are unknown or too many
	best  trigger  // what each contains, beside exact
	run   run
}

// A run is the length of the bytes that are '0' or greater which each text has: at its
// beginning, at its end, and in a row anywhere.
type run struct {
	first, last, longest int
	all                  bool // it consists of them
}

func (r run) then(next run) run {
	both := run{first: r.first, last: next.last, longest: max(r.longest, next.longest, r.last+next.first), all: r.all && next.all}
	if r.all {
		both.first += next.first
	}
	if next.all {
		both.last += r.last
	}
	return both
}

func (r run) or(other run) run {
	return run{min(r.first, other.first), min(r.last, other.last), min(r.longest, other.longest), r.all && other.all}
}

func emptyRun() run { return run{all: true} }

func factsOf(re *syntax.Regexp) facts {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpNoWordBoundary:
		return facts{exact: []string{""}, run: emptyRun()}
	case syntax.OpWordBoundary:
		return facts{exact: []string{wordEdge}, run: emptyRun()}
	case syntax.OpEndText:
		return facts{exact: []string{endOfText}, run: emptyRun()}
	case syntax.OpLiteral:
		return literalFacts(re.Rune)
	case syntax.OpCharClass:
		return classFacts(re.Rune)
	case syntax.OpCapture:
		return factsOf(re.Sub[0])
	case syntax.OpPlus:
		f := factsOf(re.Sub[0])
		if t := (trigger{texts: f.exact}); t.better(f.best) {
			f.best = t
		}
		f.exact = nil
		return f
	case syntax.OpQuest:
		f := factsOf(re.Sub[0])
		return facts{exact: together(f.exact, []string{""}), run: f.run.or(emptyRun())}
	case syntax.OpStar:
		f := factsOf(re.Sub[0])
		return facts{run: f.run.or(emptyRun())}
	case syntax.OpConcat:
		return concatFacts(re.Sub)
	case syntax.OpAlternate:
		return alternateFacts(re.Sub)
	}
	return facts{} // any character, or no match
}

func literalFacts(runes []rune) facts {
	f := facts{exact: []string{lower(string(runes))}, run: emptyRun()}
	for _, r := range runes {
		if r > 0x7f { // one byte of a command line, but two of a text here
			f.exact = nil
		}
		f.run = f.run.then(runeRun(r >= '0'))
	}
	return f
}

func runeRun(in bool) run {
	if in {
		return run{1, 1, 1, true}
	}
	return run{}
}

func classFacts(ranges []rune) facts {
	const few = 8 // characters, in lower case
	f := facts{exact: []string{}, run: runeRun(len(ranges) > 0 && ranges[0] >= '0')}
	for i := 0; i < len(ranges) && f.exact != nil; i += 2 {
		for r := ranges[i]; r <= min(ranges[i+1], 0xff); r++ {
			text := lower(string(r))
			if !slices.Contains(f.exact, text) {
				f.exact = append(f.exact, text)
			}
			if len(f.exact) > few || r > 0x7f {
				f.exact = nil
				break
			}
		}
	}
	return f
}

func concatFacts(subs []*syntax.Regexp) facts {
	f := facts{run: emptyRun()}
	exact, whole := []string{""}, true // what the last subs match; whether that is all
	end := func() {
		if t := (trigger{texts: exact}); t.better(f.best) {
			f.best = t
		}
	}
	for _, sub := range subs {
		s := factsOf(sub)
		f.run = f.run.then(s.run)
		if s.best.better(f.best) {
			f.best = s.best
		}
		if s.exact == nil || len(exact)*len(s.exact) > maxTriggers {
			end()
			exact, whole = s.exact, false
			if exact == nil {
				exact = []string{""}
			}
			continue
		}
		exact = products(exact, s.exact)
	}
	if whole {
		f.exact = exact
	} else {
		end()
	}
	return f
}

func products(a, b []string) (all []string) {
	for _, x := range a {
		for _, y := range b {
			all = append(all, x+y)
		}
	}
	return all
}

func alternateFacts(subs []*syntax.Regexp) facts {
	each := make([]facts, len(subs))
	for i, sub := range subs {
		each[i] = factsOf(sub)
	}
	if all, few := exactFacts(each); few {
		return all // with less work than below
	}
	all := each[0]
	for _, f := range each[1:] {
		next := facts{exact: together(all.exact, f.exact), run: all.run.or(f.run)}
		if next.exact == nil {
			next.best = trigger{texts: together(all.texts(), f.texts())}
		}
		all = next
	}
	return all
}

// exactFacts returns the facts of alternatives of which all texts are known, unless these are too
// many.
func exactFacts(each []facts) (all facts, few bool) {
	all = facts{exact: []string{}, run: each[0].run}
	for _, f := range each {
		if f.exact == nil || len(all.exact)+len(f.exact) > maxTriggers {
			return facts{}, false
		}
		all.exact, all.run = append(all.exact, f.exact...), all.run.or(f.run)
	}
	slices.Sort(all.exact)
	all.exact = slices.Compact(all.exact)
	return all, true
}

// texts returns the best texts of an alternative.
func (f facts) texts() []string {
	if t := (trigger{texts: f.exact}); t.better(f.best) {
		return f.exact
	}
	return f.best.texts
}

// together returns the texts of a and b; nil if those of one are not known, or too many.
func together(a, b []string) []string {
	if a == nil || b == nil || len(a)+len(b) > maxTriggers {
		return nil
	}
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// lower folds A to Z, as matching does.
func lower(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, text)
}

// triggerTexts returns the strings of symbols of a trigger's text.
func triggerTexts(text string) [][]byte {
	rest := strings.ReplaceAll(text, wordEdge, "")
	if strings.HasPrefix(text, wordEdge) {
		return [][]byte{symbols(rest, wordStart)}
	}
	return substringTexts(rest)
}

// hasRun reports whether a text has a run.
func hasRun(text []byte) bool {
	n := 0
	for _, b := range text {
		if n++; b < '0' {
			n = 0
		}
		if n == RunBytes {
			return true
		}
	}
	return false
}
