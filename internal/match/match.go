// Package match decides by the command line whether a process is a miner.
//
// The semantics, one definition for this package, for the kernel's walker and
// for the naive reference of the tests, are in docs/matching.md.
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

// MaxAllows is how many DFAs of allow patterns there are at most. They are walked side
// by side, so that the time for a text does not depend on the number of patterns.
const MaxAllows = 4

// allowLimits returns what the tables of allow patterns may take: 4 × 16,384 states of some
// 40 classes of bytes are 10 MB in the kernel.
func allowLimits() bytedfa.Limits {
	return bytedfa.Limits{DFAs: MaxAllows, Each: 4096, MaxStates: 1 << 14}
}

// A Matcher holds compiled rules. It is immutable and safe for concurrent use.
//
// The exported fields but Set are the tables that the kernel walks.
type Matcher struct {
	Set rules.Set
	Automaton
	Allow []*bytedfa.DFA // at most MaxAllows; Accept counts in Set.Allowed
}

// Outcome is what the rules say of a command line.
type Outcome uint8

const (
	NoMatch  Outcome = iota // no ban matches
	Allowed                 // a ban matches and so does an allow pattern
	Observed                // a ban of an observing rule file matches
	Banned                  // a ban matches
)

// A Verdict is an outcome with the rules that decided it.
type Verdict struct {
	Outcome Outcome
	Ban     *rules.Ban     // nil for NoMatch
	Allow   *rules.Pattern // one that matches; nil unless Allowed
}

// Compile builds the tables for a set of rules. It returns an error if they need more
// states than fit, with file and line of the largest ban or allow pattern.
func Compile(set rules.Set) (*Matcher, error) {
	var list []phrase
	for i, b := range set.Bans {
		var f Found
		switch ban := uint32(i + 1); {
		case mustEnd(b) && b.Action == rules.Kill:
			f.WordKill = ban
		case mustEnd(b):
			f.WordObserve = ban
		case b.Action == rules.Kill:
			f.Kill = ban
		default:
			f.Observe = ban
		}
		for _, text := range phrases(b) {
			list = append(list, phrase{text, f})
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

// Judge returns the verdict on a program path and an argument area: the
// arguments from argv[0] on, each ended by a NUL, as /proc/PID/cmdline has
// them. The last NUL may be missing.
func (m *Matcher) Judge(path, area []byte) Verdict { return m.JudgeNamed(path, nil, area) }

// JudgeNamed is Judge where the path leads to a file of another name, in which bans are
// sought as well: it is a link, or names a descriptor. An empty name is none.
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

// Allowed returns an allow pattern that spares a command line, nil if there is
// none. It is for detectors that do not go by bans.
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

// split cuts an argument area into argv[0] and what follows it, which begins
// with the NUL between them unless it is empty.
func split(area []byte) (argv0, rest []byte) {
	area = bytes.TrimSuffix(area, []byte{0})
	if i := bytes.IndexByte(area, 0); i >= 0 {
		return area[:i], area[i:]
	}
	return area, nil
}

// subject is what allow patterns must match: the program path and the
// arguments after argv[0], each behind a space.
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
