package match

import (
	"regexp"
	"strings"

	"github.com/cryptnono/cryptnono/internal/rules"
)

// naive is docs/matching.md word for word, with no thought of speed: the
// reference that the walkers are held against.
func naive(set rules.Set, path string, argv []string) Outcome {
	subject, argv0 := path, ""
	if len(argv) > 0 {
		subject, argv0 = strings.Join(append([]string{path}, argv[1:]...), " "), argv[0]
	}
	found := NoMatch
	for _, b := range set.Bans {
		if !naiveBan(b, path, argv0, subject) {
			continue
		}
		if b.Action == rules.Kill {
			found = Banned
		} else if found == NoMatch {
			found = Observed
		}
	}
	if found == NoMatch {
		return NoMatch
	}
	for _, p := range set.Allowed {
		if regexp.MustCompile(`(?i)\A(?:` + p.Expr + `)\z`).MatchString(subject) {
			return Allowed
		}
	}
	return found
}

func naiveBan(b rules.Ban, path, argv0, subject string) bool {
	ban := lower(b.Text)
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

func base(path string) string {
	return path[strings.LastIndexByte(path, '/')+1:]
}

func isWord(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' || b == '_'
}

// lower folds A-Z, and leaves bytes that are no UTF-8 alone.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c - 'A' + 'a'
		}
	}
	return string(b)
}
