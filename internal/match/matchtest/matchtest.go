// Package matchtest makes rules and command lines for tests of matchers.
package matchtest

import (
	"math/rand/v2"
	"strings"

	"github.com/cryptnono/cryptnono/internal/match/naive"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// Rules makes a set from lines of "KIND TEXT", where KIND is word, substring, program,
// expression, combination (of expressions that are separated by " & ") or allow. A "?" before
// it makes the ban observe. After it "+" and letters can follow: s and r for a ban that spares
// shells and root on the node, k and o for one that kills and observes in the environment.
func Rules(lines ...string) rules.Set {
	var set rules.Set
	kinds := map[string]rules.Kind{
		"word": rules.Word, "substring": rules.Substring, "program": rules.Program,
		"expression": rules.Expression, "combination": rules.Combination,
	}
	for _, l := range lines {
		kind, text, _ := strings.Cut(l, " ")
		if kind == "allow" {
			set.Allowed = append(set.Allowed, rules.Pattern{Expr: text})
			continue
		}
		b := rules.Ban{Text: text, Action: rules.Kill}
		if rest, ok := strings.CutPrefix(kind, "?"); ok {
			kind, b.Action = rest, rules.Observe
		}
		kind, flags, _ := strings.Cut(kind, "+")
		for _, flag := range flags {
			switch flag {
			case 's':
				b.Spares |= rules.Shells
			case 'r':
				b.Spares |= rules.NodeRoot
			case 'k':
				b.Environment = rules.Kill
			case 'o':
				b.Environment = rules.Observe
			}
		}
		switch b.Kind = kinds[kind]; b.Kind {
		case rules.Expression:
			b.Parts = []string{text}
		case rules.Combination:
			b.Parts = strings.Split(text, " & ")
		}
		set.Bans = append(set.Bans, b)
	}
	return set
}

// Combinations returns random rules of all kinds, for commands that Command makes.
func Combinations(rnd *rand.Rand) rules.Set {
	bans := []string{
		"program abc-*", "?program ab*", "expression+s abcd", "?expression x[0-9]+yz12", `combination+r \bab12\b & -o[ =]`,
		`?combination+so abcd(?: |$) & ^/a`, "expression+k [a-c0-9]{31}", "word+s abcd", "substring+r ab12", "?substring+sr x1yz12",
		`combination+k abcd & ab12 & x`, "word+o abcd", "?expression abcd$",
		`?expression+s \babcd`, `expression+r (?:\b|-)ab12(?:\b|x)`, `expression .\babc-`,
	}
	var lines []string
	for range 1 + rnd.IntN(5) {
		lines = append(lines, pick(rnd, bans))
	}
	if rnd.IntN(3) == 0 {
		lines = append(lines, "allow .*x.*")
	}
	return Rules(lines...)
}

// Command returns a random command of the parts of such rules.
func Command(rnd *rand.Rand) naive.Command {
	pieces := []string{
		"abcd", "ab12", "x1yz12", "-o=", "-o", "abc-1", "/abc-1", "/abc-1/", "ABCD",
		"abc012abc012abc012abc012abc012a", "abc012abc012abc012abc012abc012", "x", "/", "-", "_", " ", "\xe4", "abcd ab12 -o",
	}
	word := func(most int) (text string) {
		for range 1 + rnd.IntN(most) {
			text += pick(rnd, pieces)
		}
		return text
	}
	c := naive.Command{Path: pick(rnd, []string{"/a/", "/bin/sh", "/", "a", ""}) + word(2), NodeRoot: rnd.IntN(4) == 0}
	if rnd.IntN(3) == 0 {
		c.Path = "/bin/bash"
	}
	if rnd.IntN(8) > 0 {
		c.Argv = []string{pick(rnd, []string{"sh", "-bash", "a/abc-", word(2)})}
		for range rnd.IntN(4) {
			c.Argv = append(c.Argv, pick(rnd, []string{"-c", "-lc", "-c", "+x", "-o", "--login", "-", "", word(3)}))
		}
		c.Argv = append(c.Argv, word(4), word(2))
		c.Argv = c.Argv[:1+rnd.IntN(len(c.Argv))]
	}
	if rnd.IntN(50) == 0 && len(c.Argv) > 0 {
		c.Argv = append(c.Argv, strings.Repeat(pick(rnd, []string{"x ", "/", "ab-"}), 2000+rnd.IntN(3000))+word(3))
	}
	if rnd.IntN(3) == 0 {
		c.Env = []string{word(2), word(2)}
	}
	return c
}

func pick(rnd *rand.Rand, from []string) string { return from[rnd.IntN(len(from))] }
