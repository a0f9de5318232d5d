// Package naive implements docs/matching.md in the simplest way. Tests compare package match
// and the kernel program of execwhacker with it.
package naive

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/cryptnono/cryptnono/internal/rules"
)

// Judge returns rules.Kill if any matching ban kills, else rules.Observe if one matches, else
// "". spared reports whether the process lives nevertheless: because an allow pattern matches,
// or because all bans that match spare it.
func Judge(set rules.Set, c Command) (action rules.Action, spared bool) {
	var all, here, left rules.Action
	for _, b := range set.Bans {
		found := c.action(b)
		all = stronger(all, found)
		applies := found
		if b.Spares&rules.Shells != 0 {
			applies = c.withoutShellText().action(b)
		}
		here = stronger(here, applies)
		if b.Spares&rules.NodeRoot == 0 || !c.NodeRoot {
			left = stronger(left, applies)
		}
	}
	for _, p := range set.Allowed {
		spared = spared || Allows(p, c.Path, c.Argv)
	}
	switch {
	case all == "":
		return "", false
	case left != "":
		return left, spared
	case here != "":
		return here, true
	}
	return all, true
}

// A Command is what is evaluated.
type Command struct {
	Path     string
	Argv     []string
	Env      []string
	NodeRoot bool // root on the node executes it, and is exempt
}

// withoutShellText returns c without the text of a shell.
func (c Command) withoutShellText() Command {
	if i := shellText(c.Path, c.Argv); i > 0 {
		c.Argv = slices.Clone(c.Argv)
		c.Argv[i] = ""
	}
	return c
}

// action returns what a ban does to a command.
func (c Command) action(b rules.Ban) (action rules.Action) {
	if Bans(b, c.Path, c.Argv) {
		action = b.Action
	}
	env := strings.Join(c.Env, " ")
	if b.Environment != "" && len(c.Env) > 0 && b.Kind != rules.Program && occurs(b, env) {
		action = stronger(action, b.Environment)
	}
	return action
}

func stronger(a, b rules.Action) rules.Action {
	if a == rules.Kill || b == "" {
		return a
	}
	return b
}

// shellText returns the index of the text of a shell's -c, 0 if there is none of several
// words.
func shellText(path string, argv []string) int {
	if len(argv) == 0 || !isShell(path) && !isShell(argv[0]) {
		return 0
	}
	commands, at := false, 1
	for i := 1; i < len(argv); i++ {
		arg := argv[i]
		if at > 256 { // bytes behind argv[0]
			return 0
		}
		at += len(arg) + 1
		if strings.HasPrefix(arg, "--") && arg != "--" {
			continue
		}
		if !strings.HasPrefix(arg, "-") && !strings.HasPrefix(arg, "+") {
			if commands && strings.ContainsAny(arg, " \t\n") {
				return i
			}
			return 0
		}
		if arg[0] == '-' && strings.Contains(arg, "c") {
			commands = true
		}
		if strings.ContainsAny(arg, "oO") {
			i++ // its value
			if i < len(argv) {
				at += len(argv[i]) + 1
			}
		}
	}
	return 0
}

func isShell(path string) bool {
	if len(path) > 255 {
		return false
	}
	switch strings.TrimPrefix(base(path), "-") {
	case "sh", "bash", "rbash", "dash", "ash", "zsh", "ksh", "ksh93", "mksh", "yash", "fish":
		return true
	}
	return false
}

// Allows reports whether an allow pattern matches a command line.
func Allows(p rules.Pattern, path string, argv []string) bool {
	subject, _ := texts(path, argv)
	return compile(p.Expr, func(expr string) (*regexp.Regexp, error) {
		re, err := regexp.Compile(`(?i)\A(?:` + expr + `)\z`)
		if err != nil { // an unterminated \Q quotes the end of the group too
			re, err = regexp.Compile(`(?i)\A(?:` + expr + `\E)\z`)
		}
		return re, err
	}, &patterns).MatchString(subject)
}

// Those that were compiled, by their texts: tests judge by the same ones again and again, and compiling
// takes longest.
var patterns, expressions sync.Map //nolint:gochecknoglobals // only caches

// compile returns an expression that is valid.
func compile(expr string, make func(string) (*regexp.Regexp, error), kept *sync.Map) *regexp.Regexp {
	if re, there := kept.Load(expr); there {
		return re.(*regexp.Regexp)
	}
	re, err := make(expr)
	if err != nil {
		panic(err)
	}
	kept.Store(expr, re)
	return re
}

// Bans reports whether a ban matches a command line.
func Bans(b rules.Ban, path string, argv []string) bool {
	subject, argv0 := texts(path, argv)
	if b.Kind == rules.Program {
		return names(b, base(path)) || names(b, base(argv0))
	}
	return occurs(b, subject) || b.Parts == nil && occurs(b, argv0)
}

// names reports whether a ban matches a program of that name.
func names(b rules.Ban, name string) bool {
	ban, open := strings.CutSuffix(lower(b.Text), "*")
	return lower(name) == ban || open && strings.HasPrefix(lower(name), ban)
}

// occurs reports whether a ban matches anywhere in a text.
func occurs(b rules.Ban, text string) bool {
	for _, expr := range b.Parts {
		if !compile(expr, parse, &expressions).MatchString(latin1(text)) {
			return false
		}
	}
	if b.Parts != nil {
		return true
	}
	ban := lower(b.Text)
	text = lower(text)
	for i := 0; i+len(ban) <= len(text); i++ {
		if text[i:i+len(ban)] != ban {
			continue
		}
		before := i > 0 && isWord(text[i-1]) && isWord(ban[0])
		after := i+len(ban) < len(text) && isWord(text[i+len(ban)]) && isWord(ban[len(ban)-1])
		if b.Kind == rules.Substring || !before && !after {
			return true
		}
	}
	return false
}

func parse(expr string) (*regexp.Regexp, error) {
	re, err := rules.ParseExpression(expr)
	if err != nil {
		return nil, err
	}
	return regexp.Compile(re.String())
}

// latin1 returns a text in which each byte is a character.
func latin1(text string) string {
	var runes []rune
	for i := range len(text) {
		runes = append(runes, rune(text[i]))
	}
	return string(runes)
}

func texts(path string, argv []string) (subject, argv0 string) {
	if len(argv) == 0 {
		return path, ""
	}
	return strings.Join(append([]string{path}, argv[1:]...), " "), argv[0]
}

func base(path string) string {
	return path[strings.LastIndexByte(path, '/')+1:]
}

func isWord(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' || b == '_'
}

// lower folds A-Z and no other byte, so that invalid UTF-8 is kept.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c - 'A' + 'a'
		}
	}
	return string(b)
}
