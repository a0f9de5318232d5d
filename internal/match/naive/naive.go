// Package naive implements docs/matching.md in the simplest way. Tests compare package match
// and the kernel program of execwhacker with it.
package naive

import (
	"regexp"
	"strings"

	"github.com/cryptnono/cryptnono/internal/rules"
)

// Judge returns rules.Kill if any matching ban kills, else rules.Observe if one matches, else
// "". It also returns whether an allow pattern matches, which is false if no ban does.
func Judge(set rules.Set, path string, argv []string) (action rules.Action, allowed bool) {
	for _, b := range set.Bans {
		if action != rules.Kill && Bans(b, path, argv) {
			action = b.Action
		}
	}
	if action == "" {
		return "", false
	}
	for _, p := range set.Allowed {
		allowed = allowed || Allows(p, path, argv)
	}
	return action, allowed
}

// Allows reports whether an allow pattern matches a command line.
func Allows(p rules.Pattern, path string, argv []string) bool {
	subject, _ := texts(path, argv)
	return regexp.MustCompile(`(?i)\A(?:` + p.Expr + `)\z`).MatchString(subject)
}

// Bans reports whether a ban matches a command line.
func Bans(b rules.Ban, path string, argv []string) bool {
	ban := lower(b.Text)
	subject, argv0 := texts(path, argv)
	if b.Kind == rules.Program {
		return lower(base(path)) == ban || lower(base(argv0)) == ban
	}
	for _, text := range []string{lower(subject), lower(argv0)} {
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
	}
	return false
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
