// Package rules holds what an operator wants to see killed or spared: the
// types that the matcher is compiled from, and the reader of rule files.
package rules

import (
	"fmt"
	"strconv"
)

// Action says what happens to a process that a rule finds.
type Action string

const (
	// Kill ends the process with SIGKILL.
	Kill Action = "kill"
	// Observe does everything but kill, and logs what would have been done.
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

// Kind says where in a command line a ban matches. The semantics are in
// docs/matching.md.
type Kind uint8

const (
	// Word matches where the occurrence stands as a word
	// (bannedCommandStrings).
	Word Kind = iota
	// Substring matches anywhere (bannedCommandSubstrings).
	Substring
	// Program matches the whole base name of the program path or of argv[0]
	// (bannedPrograms).
	Program
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
	}
	return "Kind(" + strconv.Itoa(int(k)) + ")"
}

// KeyAllowed is the key of the allow patterns in a rule file, KeyAction that of
// the action of its bans.
const (
	KeyAllowed = "allowedCommandPatterns"
	KeyAction  = "action"
)

// A Ban is one text that gets a process killed, or observed.
type Ban struct {
	Kind   Kind
	Text   string // not blank, valid UTF-8, without NUL, up to MaxTextBytes
	Action Action
	Origin Origin
}

// A Pattern is one RE2 expression that spares each process whose whole
// command line it matches.
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

// String returns the place in the form "FILE:LINE KEY[INDEX]".
func (o Origin) String() string {
	return fmt.Sprintf("%s:%d %s[%d]", o.File, o.Line, o.Key, o.Index)
}

// A Set is all rules of a run, merged in the order in which they were read.
type Set struct {
	Bans    []Ban
	Allowed []Pattern
}
