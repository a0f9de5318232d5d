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
// All but Set are also the tables of the kernel program.
type Matcher struct {
	Set rules.Set
	Automaton
	Allow        []*bytedfa.DFA    // at most MaxAllows; Accept has indexes of Set.Allowed
	Searches     []*bytedfa.Search // at most MaxAllows, of the parts of Combinations
	Combinations []Combination     // in the order of Set.Bans
	Runs         bool              // whether a run triggers the evaluation of Combinations
}

// A Combination is a ban of one or more expressions.
type Combination struct {
	Parts bytedfa.Set
	Entry Entry
}

// MaxCombinations is the largest number of expressions and combinations that are bans.
const MaxCombinations = bytedfa.MaxSearch

// An Outcome is the result of matching a command line.
type Outcome uint8

const (
	NoMatch  Outcome = iota // no ban matches
	Allowed                 // a ban matches, but an allow pattern does too, or it spares the process
	Observed                // a ban of an observing rule file matches
	Banned                  // a ban matches
)

// A Verdict is an outcome and the rules that cause it.
type Verdict struct {
	Outcome Outcome
	Ban     *rules.Ban     // nil for NoMatch
	Allow   *rules.Pattern // any one that matches; nil unless Allowed
	Spared  rules.Spares   // why the outcome is Allowed without a pattern: all bans that match spare the process
	// InEnvironment says that Ban matches in the environment.
	InEnvironment bool
}

// AllowedBy names what allows a command line: an allow pattern, or the key of a rule file. It is
// "" if the outcome is not Allowed, or if root on the node is spared.
func (v Verdict) AllowedBy() string {
	switch {
	case v.Outcome != Allowed:
	case v.Allow != nil:
		return v.Allow.Origin.String()
	case v.Spared == rules.Shells:
		return v.Ban.Origin.File + " " + rules.KeySpareShells
	}
	return ""
}

// Compile builds the tables for a set of rules. If they need too many states, the error
// names file and line of a ban or allow pattern.
func Compile(set rules.Set) (*Matcher, error) {
	var list []keyword
	for i, b := range set.Bans {
		entry := entryOf(i, b)
		if b.Parts != nil {
			continue
		}
		for _, text := range keywordTexts(b) {
			list = append(list, keyword{text, []Entry{entry}})
		}
	}
	m := &Matcher{Set: set}
	triggers, err := m.compileExpressions()
	if err != nil {
		return nil, err
	}
	m.Automaton, err = buildAutomaton(append(list, triggers...))
	if errors.Is(err, errTooLarge) {
		longest := slices.MaxFunc(set.Bans, func(a, b rules.Ban) int { return cmp.Compare(len(a.Text), len(b.Text)) })
		return nil, fmt.Errorf("%s: %d bans need more than %d states, and %.200q is the longest, of %d bytes: use fewer or shorter ones",
			longest.Origin.Place(), len(set.Bans), maxCells, longest.Text, len(longest.Text))
	} else if err != nil {
		return nil, fmt.Errorf("compiling %d bans: %w", len(set.Bans), err)
	}
	if m.Allow, err = compileAllowed(set.Allowed); err != nil {
		return nil, err
	}
	return m, nil
}

// entryOf returns the entry of the ban with an index.
func entryOf(index int, b rules.Ban) Entry {
	e := Entry{Ban: uint32(index + 1)}
	for flag, is := range map[Flags]bool{
		Kills: b.Action == rules.Kill, EndsWord: mustEndWord(b), OpenEnd: b.IsOpen(),
		SparesShells: b.Spares&rules.Shells != 0, SparesNodeRoot: b.Spares&rules.NodeRoot != 0,
		KillsInEnv: b.Environment == rules.Kill, ObservesInEnv: b.Environment == rules.Observe,
	} {
		if is {
			e.Flags |= flag
		}
	}
	return e
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
			"begin them with the path of a program instead of .*, and use .* once in each", patterns[tooLarge.Index].Origin.Place(), exprs[tooLarge.Index])
	}
	return nil, fmt.Errorf("%s: the allow pattern %.200q is too large for the kernel: "+
		"begin it with the path of a program instead of .*, and use fewer of .* and of repeats like {20}", patterns[tooLarge.Index].Origin.Place(), exprs[tooLarge.Index])
}

// A Command is what is evaluated.
type Command struct {
	Path []byte // of the program
	Name []byte // of the file, if Path is a link or names a descriptor; bans are matched against it too
	Area []byte // the arguments from argv[0] on, each terminated by NUL, as in /proc/PID/cmdline; the last NUL may be missing
	Env  []byte // the environment in the same form, if it is known
	// NodeRoot says whether root on the node executes it, and is exempt. nil means no.
	NodeRoot func() bool
}

// Judge returns the verdict on a command of a path and arguments.
func (m *Matcher) Judge(path, area []byte) Verdict {
	return m.JudgeCommand(Command{Path: path, Area: area})
}

// JudgeCommand returns the verdict on a command.
func (m *Matcher) JudgeCommand(c Command) Verdict {
	argv0, rest := split(c.Area)
	f, spared := m.search(c, argv0, rest)
	if f == (found{}) {
		return Verdict{}
	}
	first := f.first()
	v := Verdict{Outcome: Observed, Ban: &m.Set.Bans[first&^InEnvironment-1], InEnvironment: first&InEnvironment != 0}
	v.Spared = spared
	switch {
	case spared != 0:
		v.Outcome = Allowed
		return v
	case f.kill != 0:
		v.Outcome = Banned
	}
	if i, ok := m.allows(subject(c.Path, rest)); ok {
		v.Outcome, v.Allow = Allowed, &m.Set.Allowed[i]
	}
	return v
}

// search returns the bans that match a command and apply to it. If there are none but such as
// spare the process, it returns these, and why.
func (m *Matcher) search(c Command, argv0, rest []byte) (f found, spared rules.Spares) {
	f = m.searchOnce(c, argv0, [][]byte{rest}, 0)
	if m.sparesOf(f) == 0 {
		return f, 0
	}
	begin, end, shell := shellText(c.Path, argv0, rest)
	again := func(ignored Flags) (f found) {
		without := [][]byte{rest}
		if shell {
			f = m.searchOnce(c, argv0, without, ignored|SparesShells)
			without = [][]byte{rest[:begin], rest[end:]}
		}
		if f.kill == 0 {
			f.add(m.searchOnce(c, argv0, without, ignored))
		}
		return f
	}
	if shell && m.sparesOf(f)&rules.Shells != 0 {
		first := f
		if f = again(0); f == (found{}) {
			return first, rules.Shells
		}
	}
	if m.sparesOf(f)&rules.NodeRoot != 0 && c.NodeRoot != nil && c.NodeRoot() {
		if others := again(SparesNodeRoot); others != (found{}) {
			return others, 0
		}
		return f, rules.NodeRoot
	}
	return f, 0
}

// sparesOf returns what the first ban found spares.
func (m *Matcher) sparesOf(f found) rules.Spares {
	if f == (found{}) {
		return 0
	}
	return m.Set.Bans[f.first()&^InEnvironment-1].Spares
}

// searchOnce searches all bans that are not ignored.
func (m *Matcher) searchOnce(c Command, argv0 []byte, rest [][]byte, ignored Flags) found {
	f, triggered := m.searchCommand(c.Path, argv0, rest, ignored)
	if f.kill == 0 && len(c.Name) > 0 {
		name, _ := m.searchCommand(c.Name, nil, nil, ignored)
		f.add(name)
	}
	text := subject(c.Path, bytes.Join(rest, nil))
	if f.kill == 0 && (triggered || m.Runs && hasRun(text)) {
		f.add(m.searchCombinations(text, false, ignored))
	}
	if f.kill == 0 && len(c.Env) > 0 {
		env := bytes.TrimSuffix(c.Env, []byte{0})
		inEnv, triggered := m.searchEnv(env, ignored)
		f.add(inEnv)
		if text := subject(env, nil); f.kill == 0 && (triggered || m.Runs && hasRun(text)) {
			f.add(m.searchCombinations(text, true, ignored))
		}
	}
	return f
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
	return bytes.ReplaceAll(append(bytes.Clone(path), rest...), []byte{0}, []byte{' '})
}

// Area joins arguments to an argument area for Judge.
func Area(argv []string) []byte {
	var b []byte
	for _, a := range argv {
		b = append(append(b, a...), 0)
	}
	return b
}
