// Package match matches command lines against the rules.
//
// docs/matching.md defines the result, for this package, for the kernel program of
// execwhacker and for package naive, the reference of the tests.
package match

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cryptnono/cryptnono/internal/match/bytedfa"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// MaxAllows is the largest number of DFAs for the allow patterns. Each byte is one step in
// each DFA, so the time for a text does not depend on the number of patterns.
const MaxAllows = 4

// allowLimits returns the largest size of these DFAs: 4 × 16,384 states with some 40 byte
// classes take 10 MB in the kernel.
func allowLimits() bytedfa.Limits {
	return bytedfa.Limits{DFAs: MaxAllows, Each: 4096, MaxStates: 1 << 14}
}

// A Matcher holds compiled rules. It is immutable and safe for concurrent use.
//
// Automaton and Allow are also the tables of the kernel program.
type Matcher struct {
	Set rules.Set
	Automaton
	Allow []*bytedfa.DFA // at most MaxAllows; Accept has indexes of Set.Allowed
}

// An Outcome is the result of matching a command line.
type Outcome uint8

const (
	NoMatch  Outcome = iota // no ban matches
	Allowed                 // a ban matches and so does an allow pattern
	Observed                // a ban of an observing rule file matches
	Banned                  // a ban matches
)

// A Verdict is an outcome and the rules that cause it.
type Verdict struct {
	Outcome Outcome
	Ban     *rules.Ban     // nil for NoMatch
	Allow   *rules.Pattern // any one that matches; nil unless Allowed
}

// Compile builds the tables for a set of rules. If they need too many states, the error
// names file and line of the largest ban or allow pattern.
func Compile(set rules.Set) (*Matcher, error) {
	var list []keyword
	for i, b := range set.Bans {
		var out Output
		switch ban := uint32(i + 1); {
		case mustEndWord(b) && b.Action == rules.Kill:
			out.WordKill = ban
		case mustEndWord(b):
			out.WordObserve = ban
		case b.Action == rules.Kill:
			out.Kill = ban
		default:
			out.Observe = ban
		}
		for _, text := range keywordTexts(b) {
			list = append(list, keyword{text, out})
		}
	}
	a, err := buildAutomaton(list)
	if errors.Is(err, errTooLarge) {
		longest := slices.MaxFunc(set.Bans, func(a, b rules.Ban) int { return cmp.Compare(len(a.Text), len(b.Text)) })
		return nil, fmt.Errorf("%s: %d bans need more than %d states, and %.200q is the longest, of %d bytes: use fewer or shorter ones",
			longest.Origin, len(set.Bans), maxCells, longest.Text, len(longest.Text))
	} else if err != nil {
		return nil, fmt.Errorf("compiling %d bans: %w", len(set.Bans), err)
	}
	m := &Matcher{Set: set, Automaton: a}

	if m.Allow, err = compileAllowed(set.Allowed); err != nil {
		return nil, err
	}
	return m, nil
}

func compileAllowed(patterns []rules.Pattern) ([]*bytedfa.DFA, error) {
	exprs := make([]string, len(patterns))
	for i, p := range patterns {
		exprs[i] = p.Expr
	}
	dfas, err := bytedfa.Group(exprs, allowLimits())
	var tooLarge *bytedfa.TooLargeError
	switch {
	case err == nil:
		return dfas, nil
	case !errors.As(err, &tooLarge):
		return nil, fmt.Errorf("compiling %d allow patterns: %w", len(exprs), err)
	case tooLarge.Together:
		return nil, fmt.Errorf("%s: the allow patterns are too large for the kernel together, and %.200q is the largest: "+
			"begin them with the path of a program instead of .*, and use .* once in each", patterns[tooLarge.Index].Origin, exprs[tooLarge.Index])
	}
	return nil, fmt.Errorf("%s: the allow pattern %.200q is too large for the kernel: "+
		"begin it with the path of a program instead of .*, and use fewer of .* and of repeats like {20}", patterns[tooLarge.Index].Origin, exprs[tooLarge.Index])
}

// Judge returns the verdict on a program path and an argument area: the arguments from
// argv[0] on, each terminated by NUL, as in /proc/PID/cmdline. The last NUL may be missing.
func (m *Matcher) Judge(path, area []byte) Verdict { return m.JudgeNamed(path, nil, area) }

// JudgeNamed is Judge for a path that is a link or names a descriptor: bans are also matched
// against the name of the file. An empty name is ignored.
func (m *Matcher) JudgeNamed(path, name, area []byte) Verdict {
	argv0, rest := split(area)
	kill, observe := m.search(path, argv0, rest)
	if kill == 0 && len(name) > 0 {
		k, o := m.search(name, nil, nil)
		kill, observe = k, cmp.Or(observe, o)
	}
	var v Verdict
	switch {
	case kill != 0:
		v = Verdict{Outcome: Banned, Ban: &m.Set.Bans[kill-1]}
	case observe != 0:
		v = Verdict{Outcome: Observed, Ban: &m.Set.Bans[observe-1]}
	default:
		return v
	}
	if i, ok := m.allows(subject(path, rest)); ok {
		v.Outcome, v.Allow = Allowed, &m.Set.Allowed[i]
	}
	return v
}

// Allowed returns an allow pattern that matches a command line, nil if there is none. It is
// for detectors that do not use bans.
func (m *Matcher) Allowed(path, area []byte) *rules.Pattern {
	_, rest := split(area)
	if i, ok := m.allows(subject(path, rest)); ok {
		return &m.Set.Allowed[i]
	}
	return nil
}

func (m *Matcher) allows(subject []byte) (int, bool) {
	for _, g := range m.Allow {
		if i, ok := g.Match(subject); ok {
			return i, true
		}
	}
	return 0, false
}

// split cuts an argument area into argv[0] and the rest, which begins
// with the NUL between them unless it is empty.
func split(area []byte) (argv0, rest []byte) {
	area = bytes.TrimSuffix(area, []byte{0})
	if i := bytes.IndexByte(area, 0); i >= 0 {
		return area[:i], area[i:]
	}
	return area, nil
}

// subject returns the text that allow patterns must match: the program path and the
// arguments after argv[0], with a space before each.
func subject(path, rest []byte) []byte {
	s := append(bytes.Clone(path), rest...)
	for i := len(path); i < len(s); i++ {
		if s[i] == 0 {
			s[i] = ' '
		}
	}
	return s
}

// Area joins arguments to an argument area for Judge.
func Area(argv []string) []byte {
	var b []byte
	for _, a := range argv {
		b = append(append(b, a...), 0)
	}
	return b
}
