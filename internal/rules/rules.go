// Package rules defines bans and allow patterns, and reads rule files.
package rules

import (
	"fmt"
	"strconv"
	"strings"
)

// Action is what happens to a process that matches a ban.
type Action string

const (
	// Kill ends the process with SIGKILL.
	Kill Action = "kill"
	// Observe only logs the match.
	Observe Action = "observe"
)

// ParseAction returns the action of that name.
func ParseAction(name string) (Action, error) {
	switch a := Action(name); a {
	case Kill, Observe:
		return a, nil
	}
	return "", fmt.Errorf("%q is neither %q nor %q", name, Kill, Observe)
}

// Kind is where in a command line a ban matches: docs/matching.md.
type Kind uint8

const (
	// Word matches whole words (bannedCommandStrings).
	Word Kind = iota
	// Substring matches anywhere (bannedCommandSubstrings).
	Substring
	// Program matches the whole base name of the program path or of argv[0], or its
	// beginning if the text ends in "*" (bannedPrograms).
	Program
	// Expression matches an RE2 expression anywhere (bannedCommandPatterns).
	Expression
	// Combination matches if each of several RE2 expressions does
	// (bannedCommandCombinations).
	Combination
)

// Key returns the key under which a rule file lists bans of this kind.
func (k Kind) Key() string {
	switch k {
	case Word:
		return "bannedCommandStrings"
	case Substring:
		return "bannedCommandSubstrings"
	case Program:
		return "bannedPrograms"
	case Expression:
		return "bannedCommandPatterns"
	case Combination:
		return "bannedCommandCombinations"
	}
	return "Kind(" + strconv.Itoa(int(k)) + ")"
}

// Keys of a rule file that are no lists of bans.
const (
	KeyAllowed     = "allowedCommandPatterns"
	KeyParts       = "commandParts"
	KeyAction      = "action"
	KeyEnvironment = "environment"
	KeySpareShells = "spareShells"
	KeySpareRoot   = "spareNodeRoot"
)

// A Ban is a text for which a matching process is killed or observed.
type Ban struct {
	Kind   Kind
	Text   string // not blank, valid UTF-8, without NUL, at most MaxTextBytes
	Action Action
	Origin Origin
	// Parts are the expressions of an Expression, which has one, or of a Combination:
	// see ParseExpression. References to named parts are replaced.
	Parts []string
	// Environment is the action if the ban matches in the environment of an exec; "" if it
	// is not searched there.
	Environment Action
	Spares      Spares
	// Likely is true for a built-in ban that observes by design: its match is a likely sign of a
	// miner.
	Likely bool
}

// IsOpen reports whether a ban matches each program's name that begins as its text does.
func (b *Ban) IsOpen() bool { return b.Kind == Program && strings.HasSuffix(b.Text, "*") }

// Spares are the processes that a ban does not apply to.
type Spares uint8

const (
	// Shells are shells, if the ban matches in the text of their -c (spareShells): the
	// commands in it are judged themselves.
	Shells Spares = 1 << iota
	// NodeRoot is root on the node, outside of containers (spareNodeRoot).
	NodeRoot
)

// A Pattern is an RE2 expression. A process whose whole command line matches it is not
// killed.
type Pattern struct {
	Expr   string
	Origin Origin
}

// Origin is the place of a rule in a rule file.
type Origin struct {
	File  string
	Line  int // from 1
	Key   string
	Index int // in the list under Key, from 0
}

// String returns "FILE:LINE KEY[INDEX]".
func (o Origin) String() string {
	return fmt.Sprintf("%s:%d %s[%d]", o.File, o.Line, o.Key, o.Index)
}

// Place returns "FILE:LINE: KEY[INDEX]", as messages about files begin.
func (o Origin) Place() string {
	return fmt.Sprintf("%s:%d: %s[%d]", o.File, o.Line, o.Key, o.Index)
}

// A Set contains all rules of a run, in the order in which they were read.
type Set struct {
	Bans      []Ban
	Allowed   []Pattern
	Addresses []Address
	Names     []Name
}
