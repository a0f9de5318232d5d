package main

import (
	"regexp"
	"slices"
	"strings"
)

// An olderRule decides as the Python program did by its documents, which docs/migrating.md compares
// with this agent: user space looks for bans in the arguments of an exec that the kernel has
// reported. It is the rule alone, in Go, without the lookup of the container that came before the
// kill.
type olderRule struct {
	bans    []string
	allowed []*regexp.Regexp
}

// kills returns whether the command line is banned. A ban that occurs inside of a larger word
// anywhere counts nowhere. A pattern allows what it matches from the beginning, to wherever.
func (r olderRule) kills(cmdline string) bool {
	cmdline = strings.ToLower(cmdline)
	return slices.ContainsFunc(r.bans, func(ban string) bool { return hasOnlyAsWord(cmdline, ban) }) &&
		!slices.ContainsFunc(r.allowed, func(p *regexp.Regexp) bool {
			at := p.FindStringIndex(cmdline)
			return at != nil && at[0] == 0
		})
}

// hasOnlyAsWord returns whether word occurs in text, and each time as a whole word.
func hasOnlyAsWord(text, word string) bool {
	found := false
	for from := 0; ; {
		i := strings.Index(text[from:], word)
		if i < 0 {
			return found
		}
		i += from
		end := i + len(word)
		if i > 0 && isWord(text[i-1]) || end < len(text) && isWord(text[end]) {
			return false
		}
		found, from = true, i+1
	}
}

func isWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c == '_'
}
