// Package bytedfa turns allow patterns, which are RE2 regular expressions,
// into tables that a walker runs over a text one byte at a time: no
// backtracking, no look-ahead, two loads a byte. Match is such a walker, and
// an eBPF program can be another.
//
// A table accepts exactly what Go's regexp matches: the whole text, whatever its
// case, for every text, be it valid UTF-8 or not.
//
// An expression goes through four automata, each in its own file:
//
//	regexp/syntax  expression → program with assertions such as \b
//	runes.go       program → table over classes of runes, no assertions left
//	bytes.go       → table over classes of bytes, UTF-8 decoding included
//	group.go       tables of several expressions → one table
//
// Each table is made as small as it can be (minimal.go) before the next step.
package bytedfa

import (
	"errors"
	"regexp/syntax"
)

// These states have the same number in each DFA.
const (
	// Dead is the state from which no text leads to a match; a walker may stop
	// there. No other state is like it, but for Start if nothing ever matches.
	Dead = 0
	// Start is the state before the first byte.
	Start = 1
)

// MaxStates is the largest number of states that a DFA can have.
const MaxStates = 1 << 16

// ErrTooLarge says that a DFA would have more states than the caller allows,
// or that so many are needed on the way to it that it is not worth the try.
var ErrTooLarge = errors.New("too large for a byte automaton")

// A DFA tells which of some expressions match a text as a whole. It is not
// changed once made, and any number of goroutines may read it.
type DFA struct {
	// Classes has the class of each byte, less than Stride. Bytes of a class
	// are alike to all expressions.
	Classes [256]uint8
	// Stride is the number of classes, 1 to 256.
	Stride int
	// Next has the state after state s and a byte of class c at s*Stride+c.
	Next []uint16
	// Accept has for each state 1 + the index of an expression that matches if the
	// text ends here, or 0 if none does.
	Accept []uint16
}

// Step returns the state that follows s on b.
func (d *DFA) Step(s uint16, b byte) uint16 {
	return d.Next[int(s)*d.Stride+int(d.Classes[b])]
}

// Match returns the index of an expression that matches all of text.
func (d *DFA) Match(text []byte) (index int, ok bool) {
	s := uint16(Start)
	for _, b := range text {
		if s = d.Step(s, b); s == Dead {
			return 0, false
		}
	}
	return int(d.Accept[s]) - 1, d.Accept[s] != 0
}

// whole returns the source of the regular expression that matches the texts which
// expr matches as a whole, whatever their case, and what it parses to.
func whole(expr string) (source string, re *syntax.Regexp, err error) {
	// On its own first: a)|(b would become valid inside the group.
	if _, err := syntax.Parse(expr, syntax.Perl); err != nil {
		return "", nil, err
	}
	source = `(?i)\A(?:` + expr + `)\z`
	if re, err = syntax.Parse(source, syntax.Perl); err != nil {
		// A quotation that expr begins with \Q and leaves open has swallowed
		// the end of the group.
		source = `(?i)\A(?:` + expr + `\E)\z`
		re, err = syntax.Parse(source, syntax.Perl)
	}
	return source, re, err
}

// compile returns the DFA of one expression, which Accept calls index.
func compile(expr string, index, maxStates int) (*DFA, error) {
	_, re, err := whole(expr)
	if err != nil {
		return nil, err
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return nil, err
	}
	b := newBudget(maxStates)
	abc, err := newAlphabet(prog, b)
	if err != nil {
		return nil, err
	}
	runes, err := runeTable(prog, abc, b)
	if err != nil {
		return nil, err
	}
	classes, bytes, err := byteTable(runes, abc, b)
	if err != nil {
		return nil, err
	}
	for s, accept := range bytes.accept {
		bytes.accept[s] = accept * uint16(index+1)
	}
	return newDFA(classes, bytes), nil
}
