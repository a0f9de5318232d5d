package match

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/cryptnono/cryptnono/internal/match/bytedfa"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// searchLimits returns the largest size of the searches for expressions.
func searchLimits() bytedfa.Limits {
	return bytedfa.Limits{DFAs: MaxAllows, Each: 1 << 13, MaxStates: 1 << 14}
}

// compileExpressions compiles the bans that have expressions, and returns the keywords of
// their triggers.
func (m *Matcher) compileExpressions() ([]keyword, error) {
	var parts []*syntax.Regexp
	var origins []rules.Origin // of the first ban with each part
	type part struct {
		id      int
		trigger trigger
	}
	known := make(map[string]part)
	texts := make(map[string]bool)
	for i, b := range m.Set.Bans {
		if b.Parts == nil {
			continue
		}
		c := Combination{Entry: entryOf(i, b)}
		var best trigger
		for _, expr := range b.Parts {
			p, again := known[expr]
			if !again {
				re, err := rules.ParseExpression(expr)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", b.Origin.Place(), err)
				}
				p = part{len(parts), triggerOf(re)}
				known[expr] = p
				parts, origins = append(parts, re), append(origins, b.Origin)
			}
			if p.trigger.better(best) {
				best = p.trigger
			}
			if p.id < bytedfa.MaxSearch {
				c.Parts.Add(p.id)
			}
		}
		if best.rank() == 0 {
			return nil, fmt.Errorf("%s: %.200q can match without a text of at least %d bytes or %d letters and digits in a row, so each command line "+
				"would have to be searched for it: write more of the command line", b.Origin.Place(), b.Text, minTrigger, RunBytes)
		}
		if m.Combinations = append(m.Combinations, c); max(len(parts), len(m.Combinations)) > MaxCombinations {
			return nil, fmt.Errorf("%s: more than %d expressions and combinations", b.Origin.Place(), MaxCombinations)
		}
		m.Runs = m.Runs || best.run
		for _, text := range best.texts {
			texts[text] = true
		}
	}
	var err error
	m.Searches, err = bytedfa.GroupSearch(parts, searchLimits())
	if tooLarge, is := errors.AsType[*bytedfa.TooLargeError](err); is {
		return nil, fmt.Errorf("%s: too large for the kernel: begin expressions with text, and use fewer of .* and of repeats like {20}", origins[tooLarge.Index].Place())
	} else if err != nil {
		return nil, fmt.Errorf("compiling %d expressions: %w", len(parts), err)
	}
	var list []keyword
	for text := range texts {
		for _, symbols := range triggerTexts(text) {
			list = append(list, keyword{symbols, []Entry{{Flags: Triggers}}})
		}
	}
	return list, nil
}

// searchCombinations searches the bans of expressions in a text.
func (m *Matcher) searchCombinations(text []byte, env bool, ignored Flags) (f found) {
	var matched bytedfa.Set
	for _, s := range m.Searches {
		s.Match(text, &matched)
	}
	for _, c := range m.Combinations {
		if c.Entry.Flags&ignored == 0 && matched.Includes(c.Parts) {
			f.add(c.Entry.found(env))
		}
	}
	return f
}

// Expressions finds what in a text a ban of expressions matches. It is safe for concurrent
// use.
type Expressions struct {
	mu       sync.Mutex
	compiled map[string]*regexp.Regexp
}

// Matched returns what of a command line ban matches, for the log: path and area are those of
// a Command. It returns the text of the ban itself if that is no expression, or if an
// expression finds nothing, as where the command line was cut.
func (e *Expressions) Matched(ban *rules.Ban, path, area []byte) string {
	if ban.Parts == nil {
		return ban.Text
	}
	_, rest := split(area)
	text := subject(path, rest)
	decoded := latin1(text)
	var all []string
	for _, expr := range ban.Parts {
		part := e.compile(expr)
		if part == nil {
			return ban.Text
		}
		at := part.FindStringIndex(decoded)
		if at == nil {
			return ban.Text
		}
		found := text[utf8.RuneCountInString(decoded[:at[0]]):utf8.RuneCountInString(decoded[:at[1]])]
		all = append(all, strings.TrimSpace(string(found)))
	}
	return strings.Join(all, " + ")
}

func (e *Expressions) compile(expr string) *regexp.Regexp {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.compiled == nil {
		e.compiled = make(map[string]*regexp.Regexp)
	}
	re, known := e.compiled[expr]
	if !known {
		if parsed, err := rules.ParseExpression(expr); err == nil {
			re, _ = regexp.Compile(parsed.String())
		}
		e.compiled[expr] = re
	}
	return re
}

// latin1 returns a text in which each byte is a character, as expressions see it.
func latin1(text []byte) string {
	runes := make([]rune, len(text))
	for i, b := range text {
		runes[i] = rune(b)
	}
	return string(runes)
}
