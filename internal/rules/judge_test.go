package rules_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// A judge stands for match.Matcher until that evaluates expressions: then builtin returns
// match.Compile(rules.Builtin()), verdict calls its Judge, and this file goes.
type judge struct {
	set   rules.Set
	exprs map[string]*regexp.Regexp
}

// builtin returns the matcher of the built-in rules.
func builtin(t testing.TB) *judge {
	t.Helper()
	j := &judge{set: rules.Builtin(), exprs: make(map[string]*regexp.Regexp)}
	for _, b := range j.set.Bans {
		for _, part := range b.Parts {
			re, err := rules.ParseExpression(part)
			if err != nil {
				t.Fatal(err)
			}
			j.exprs[part] = regexp.MustCompile(re.String())
		}
	}
	return j
}

// verdict evaluates a command line whose program is executed by the path argv[0].
func verdict(j *judge, argv []string) (v match.Verdict) {
	whole := strings.Join(argv, " ")
	spared := whole // without the text of a shell
	if i := shellText(argv); i > 0 {
		spared = strings.Join(argv[:i], " ") + "  " + strings.Join(argv[i+1:], " ")
	}
	matched := make(map[string]bool)
	for i := range j.set.Bans {
		b := &j.set.Bans[i]
		text := whole
		if b.Spares&rules.Shells != 0 {
			text = spared
		}
		if v.Outcome == match.Banned || v.Outcome == match.Observed && b.Action == rules.Observe || !j.bans(b, argv[0], text, matched) {
			continue
		}
		v.Ban, v.Outcome = b, match.Banned
		if b.Action == rules.Observe {
			v.Outcome = match.Observed
		}
	}
	return v
}

func (j *judge) bans(b *rules.Ban, path, text string, matched map[string]bool) bool {
	lower, ban := strings.ToLower(text), strings.ToLower(b.Text)
	switch b.Kind {
	case rules.Program:
		name := strings.ToLower(path[strings.LastIndexByte(path, '/')+1:])
		begin, open := strings.CutSuffix(ban, "*")
		return name == ban || open && strings.HasPrefix(name, begin)
	case rules.Substring:
		return strings.Contains(lower, ban)
	case rules.Word:
		for at := 0; ; at++ {
			i := strings.Index(lower[at:], ban)
			if i < 0 {
				return false
			}
			at += i
			before := at > 0 && isWord(lower[at-1]) && isWord(ban[0])
			after := at+len(ban) < len(lower) && isWord(lower[at+len(ban)]) && isWord(ban[len(ban)-1])
			if !before && !after {
				return true
			}
		}
	}
	for _, part := range b.Parts {
		yes, known := matched[part+"\x00"+text]
		if !known {
			yes = j.exprs[part].MatchString(latin1(text))
			matched[part+"\x00"+text] = yes
		}
		if !yes {
			return false
		}
	}
	return true
}

// latin1 returns a text in which each byte is a character.
func latin1(text string) string {
	var runes []rune
	for i := range len(text) {
		runes = append(runes, rune(text[i]))
	}
	return string(runes)
}

func isWord(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b == '_'
}

// shellText returns the index of the text of a shell's -c, 0 if there is none of several
// words.
func shellText(argv []string) int {
	if !strings.HasSuffix(argv[0], "sh") {
		return 0
	}
	commands := false
	for i, arg := range argv {
		switch {
		case i == 0:
		case strings.HasPrefix(arg, "-"):
			commands = commands || !strings.HasPrefix(arg, "--") && strings.Contains(arg, "c")
		case commands && strings.ContainsAny(arg, " \t\n"):
			return i
		default:
			return 0
		}
	}
	return 0
}
