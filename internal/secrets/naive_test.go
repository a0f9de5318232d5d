package secrets

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

// A rule says what a secret is: it begins where the text before it ends with one expression, and
// is what the other matches there, or a group of it.
type rule struct{ before, secret *regexp.Regexp }

// definition has the rules. The first that finds a secret at a place counts.
func definition(cut bool) (all []rule) {
	const (
		secretName = `[\w.-]*(?:password|passwd|passphrase|token|secret|(?:api|access|secret|auth)[_-]?key)`
		headerName = `[\w.-]*(?:authorization|cookie)`
		inQuotes   = `"(?:\\[^\x00]|\\|[^"\\\x00])*"?|'[^'\x00]*'?`
		word       = inQuotes + `|[^\s\x00"'][^\s\x00]*`
		authority  = `[^/?#\s\x00"']*`
	)
	add := func(before, secret string) {
		all = append(all, rule{regexp.MustCompile(`(?:` + before + `)$`), regexp.MustCompile(`^(?:` + secret + `)`)})
	}
	// In an argument of its own, an option has the rest of it or the next one.
	add(`(?:^|\x00)-`+secretName+`=`, `[^\x00]+`)
	add(`(?:^|\x00)-`+secretName+`\x00`, `[^-\x00][^\x00]*|-[^-\x00][^\x00]+`)
	// In the command line of a shell, it has a word.
	add(`(?:^|[\s\x00"'(])-`+secretName+`[ \t]+`, inQuotes+`|[^-\s\x00"'][^\s\x00]*|-[^-\s\x00][^\s\x00]+`)
	// In URLs, environments, JSON and headers.
	add(`[?&]`+secretName+`=`, `[^\s\x00&#"']+`)
	add(`(?:^|[^?&\w.-])`+secretName+`=`, word)
	add(secretName+`(?:["']:[ \t]*|:[ \t]+)`, word)
	// The whole value of a header is secret.
	add(`(?:^|\x00)(?:-[\w.-]*header=)?`+headerName+`:[ \t]*`, `[^ \t\x00][^\x00]*`)
	add(headerName+`["']?:[ \t]*`, inQuotes+`|[^ \t\x00\n"'][^\x00\n"']*`)
	// The user and the password of a URL.
	add(`https?://`, `(`+authority+`)@`)
	if cut {
		add(`[\w.-]://`, authority+`$`)
	}
	add(`[\w.-]://[^/?#\s\x00"':@]*:`, `(`+authority+`)@`)
	return all
}

// naive is Hide by the definition.
func naive(text []byte, rules []rule) []byte {
	lower := bytes.Clone(text)
	for i, c := range lower {
		if c >= 'A' && c <= 'Z' {
			lower[i] += 'a' - 'A'
		}
	}
	var shown []byte
	done := 0
	for i := range text {
		if i < done {
			continue
		}
		for _, r := range rules {
			if !r.before.Match(lower[:i]) {
				continue
			}
			found := r.secret.FindSubmatch(lower[i:])
			if n := len(found); n > 0 && len(found[n-1]) > 0 {
				shown = append(append(shown, text[done:i]...), Hidden...)
				done = i + len(found[n-1])
				for j := i; j < done-1; j++ {
					lower[j] = '*' // it is not the name of another one
				}
				break
			}
		}
	}
	return append(shown, text[done:]...)
}

func FuzzHide(f *testing.F) {
	for _, c := range cases {
		f.Add([]byte(strings.ReplaceAll(c.in, "|", "\x00")))
	}
	rules := map[bool][]rule{true: definition(true), false: definition(false)}
	// The fuzzer does not find whole names: each byte above 127 is one of these instead.
	parts := []string{
		"--", "-", "password", "TOKEN", "api-key", "secret", "Authorization", "cookie", "header", "http", "https://", "://", "@", ":", ": ", "=", "\x00", " ", "\t", "\"", "'", "\\", "?", "&", "/", "\n", "-H", "x", "é",
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var text []byte
		for _, c := range raw {
			if c < 128 {
				text = append(text, c)
			} else {
				text = append(text, parts[int(c-128)%len(parts)]...)
			}
		}
		if len(text) > 200 {
			return // the reference takes quadratic time
		}
		for _, cut := range []bool{false, true} {
			before := bytes.Clone(text)
			got, want := Hide(text, cut), naive(text, rules[cut])
			if !bytes.Equal(got, want) || !bytes.Equal(text, before) {
				t.Errorf("cut %v: %q becomes\n%q, want\n%q", cut, before, got, want)
			}
		}
	})
}
