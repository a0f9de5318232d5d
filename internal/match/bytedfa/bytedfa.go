// Package bytedfa compiles RE2 regular expressions to DFAs over bytes. A DFA reads a text
// byte by byte with two loads for each, and without backtracking or look-ahead. Match does
// so in Go; an eBPF program can do the same.
//
// A DFA accepts a text if Go's regexp matches it as a whole, ignoring case, also if the text
// is not valid UTF-8.
//
// An expression is compiled in four steps, each in its own file:
//
//	regexp/syntax  expression → program with assertions such as \b
//	runes.go       program → table over classes of runes, no assertions left
//	bytes.go       → table over classes of bytes, UTF-8 decoding included
//	group.go       tables of several expressions → one table
//
// Each table is minimized (minimal.go) before the next step.
package bytedfa

import (
	"errors"
	"regexp/syntax"
)

// These states have the same number in each DFA.
const (
	// Dead is the state from which no text leads to a match, so reading may stop. It is the
	// only such state, except for Start if no text matches.
	Dead = 0
	// Start is the state before the first byte.
	Start = 1
)

// MaxStates is the largest number of states that a DFA can have.
const MaxStates = 1 << 16

// ErrTooLarge is returned if a DFA would have more states than the caller allows, or if
// compiling it would take too much time or memory.
var ErrTooLarge = errors.New("too large for a byte automaton")

// A DFA reports which of several expressions matches a text as a whole. It is immutable and
// safe for concurrent use.
type DFA struct {
	// Classes has the class of each byte, less than Stride. All expressions treat the bytes
	// of a class alike.
	Classes [256]uint8
	// Stride is the number of classes, 1 to 256.
	Stride int
	// Next has the state that follows state s on a byte of class c at s*Stride+c.
	Next []uint16
	// Accept has for each state 1 + the index of an expression that matches if the
	// text ends in that state, or 0.
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

// Whole returns the regular expression that matches the texts which expr matches as a
// whole, ignoring case, as source and parsed.
func Whole(expr string) (source string, re *syntax.Regexp, err error) {
	// Without the group first: a)|(b would become valid inside it.
	if _, err := syntax.Parse(expr, syntax.Perl); err != nil {
		return "", nil, err
	}
	source = `(?i)\A(?:` + expr + `)\z`
	if re, err = syntax.Parse(source, syntax.Perl); err != nil {
		// An unterminated \Q in expr quotes the end of the group too.
		source = `(?i)\A(?:` + expr + `\E)\z`
		re, err = syntax.Parse(source, syntax.Perl)
	}
	return source, re, err
}

// compile returns the DFA of one expression, with index+1 in Accept.
func (x *explorer) compile(expr string, index, maxStates int) (*DFA, error) {
	_, re, err := Whole(expr)
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
	runes, err := x.runeTable(prog, abc, b)
	if err != nil {
		return nil, err
	}
	classes, bytes, err := x.byteTable(runes, abc, b)
	if err != nil {
		return nil, err
	}
	for s, accept := range bytes.accept {
		bytes.accept[s] = accept * uint16(index+1)
	}
	return newDFA(classes, bytes), nil
}
