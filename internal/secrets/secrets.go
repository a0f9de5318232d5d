// Package secrets hides secrets in command lines and environment variables, for the log.
//
// It hides what is certainly a secret by its name or its place, docs/logs.md has the list, and
// leaves the rest, such as the wallet of a miner. naive_test.go defines it.
package secrets

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// Hidden is shown instead of a secret.
const Hidden = "***"

// spaces are the bytes that end a word.
const spaces = " \t\r\n\f\x00"

// Hide returns text with Hidden in the place of each secret. text are the arguments of a
// program, separated by NULs, or other text. cut says that more followed.
func Hide(text []byte, cut bool) []byte {
	s := search{text: text, cut: cut}
	var shown []byte
	for i := 0; i < len(text); {
		from, to := s.find(i)
		if from >= to {
			i++
			continue
		}
		shown = append(append(shown, text[s.done:from]...), Hidden...)
		s.done, i = to, to
	}
	if s.done == 0 {
		return text
	}
	return append(shown, text[s.done:]...)
}

// IsName reports whether the value of a variable with this name is a secret.
func IsName(name string) bool { return isSecret([]byte(name)) }

// HideVariable is Hide for the value of an environment variable.
func HideVariable(name string, value []byte, cut bool) []byte {
	if len(value) > 0 && IsName(name) {
		return []byte(Hidden)
	}
	return Hide(value, cut)
}

// A search finds the secrets of a text, of which the first done bytes are searched.
type search struct {
	text []byte
	cut  bool // as for Hide
	done int
}

// find returns the secret that the separator text[i] introduces; from >= to if it is none.
func (s *search) find(i int) (from, to int) {
	switch s.text[i] {
	case '=':
		return s.assigned(i)
	case 0, ' ', '\t':
		return s.apart(i)
	case ':':
		from, to = s.afterColon(i)
		if from >= to && bytes.HasPrefix(s.text[i:], []byte("://")) {
			from, to = s.userOfURL(i)
		}
	}
	return from, to
}

// assigned finds the value in --password=VALUE, PASSWORD=VALUE and ?token=VALUE.
func (s *search) assigned(i int) (from, to int) {
	text := s.text
	name, before := s.nameBefore(i)
	from = i + 1
	switch {
	case !isSecret(name):
		return 0, 0
	case isOption(name) && before == 0:
		return from, argument(text, from)
	case before == '?' || before == '&':
		return from, until(text, from, spaces+"&#\"'")
	}
	return from, word(text, from)
}

// apart finds the value after an option: the next argument or, where an argument holds a
// command line, as that of a shell, the next word. An option is not a value, except that
// passwords can begin with one dash.
func (s *search) apart(i int) (from, to int) {
	text := s.text
	name, before := s.nameBefore(i)
	if !isOption(name) || !isSecret(name) {
		return 0, 0
	}
	from = i + 1
	switch {
	case text[i] == 0 && before == 0:
		to = argument(text, from)
	case text[i] != 0 && strings.IndexByte(spaces+"\"'(", before) >= 0:
		from = skipBlanks(text, i)
		to = word(text, from)
	}
	if to > from && text[from] == '-' {
		_, letter := utf8.DecodeRune(text[from+1 : to])
		if to-from == 1+letter || text[from+1] == '-' {
			return 0, 0
		}
	}
	return from, to
}

// afterColon finds the value of a header or of a member of an object, and the password in
// scheme://user:password@host. The user stays, because it can be the wallet of a miner.
func (s *search) afterColon(i int) (from, to int) {
	text := s.text
	end := i
	quoted := i > 0 && isQuote(text[i-1])
	if quoted {
		end--
	}
	name, before := s.nameBefore(end)
	from = skipBlanks(text, i+1)
	switch {
	case isCredentials(name):
		if !quoted && s.beginsArgument(end-len(name), before) {
			return from, argument(text, from)
		}
		if from < len(text) && isQuote(text[from]) {
			return from, word(text, from)
		}
		return from, until(text, from, "\x00\n\"'")
	case isSecret(name) && (quoted || from > i+1):
		return from, word(text, from)
	}
	user := bytes.LastIndexAny(text[:i], afterAuthority+":@") + 1
	if user >= 4 && isScheme(text[:user]) {
		return i + 1, lastAt(text, i+1)
	}
	return 0, 0
}

// userOfURL finds the user and the password in http://user:password@host. There the user can be
// a token. If text is cut in it, the user and the password of any URL are hidden.
func (s *search) userOfURL(i int) (from, to int) {
	text := s.text
	from = i + len("://")
	if hasSuffix(text[:i], "http") || hasSuffix(text[:i], "https") {
		if to = lastAt(text, from); to > from {
			return from, to
		}
	}
	if end := until(text, from, afterAuthority); s.cut && end == len(text) && isScheme(text[:from]) {
		return from, end
	}
	return 0, 0
}

// afterAuthority are the bytes that end the part of a URL in which there can be a user.
const afterAuthority = spaces + "/?#\"'"

// lastAt returns the place of the last @ before the end of the authority, 0 if there is none.
func lastAt(text []byte, from int) int {
	return from + max(bytes.LastIndexByte(text[from:until(text, from, afterAuthority)], '@'), -from)
}

// isScheme reports whether text ends in scheme://.
func isScheme(text []byte) bool {
	scheme, ok := bytes.CutSuffix(text, []byte("://"))
	return ok && len(scheme) > 0 && isNameByte(scheme[len(scheme)-1])
}

// nameBefore returns the name that ends at i, and the byte before it, 0 if there is none.
func (s *search) nameBefore(i int) (name []byte, before byte) {
	start := i
	for start > s.done && isNameByte(s.text[start-1]) {
		start--
	}
	if start > 0 {
		before = s.text[start-1]
	}
	return s.text[start:i], before
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
}

func isQuote(c byte) bool { return c == '"' || c == '\'' }

func isOption(name []byte) bool { return len(name) > 0 && name[0] == '-' }

// isSecret reports whether a name ends in a word for a secret, as API_TOKEN and clientSecret.
func isSecret(name []byte) bool {
	for _, word := range []string{"password", "passwd", "passphrase", "token", "secret"} {
		if hasSuffix(name, word) {
			return true
		}
	}
	if !hasSuffix(name, "key") {
		return false
	}
	name = name[:len(name)-len("key")]
	if n := len(name); n > 0 && (name[n-1] == '-' || name[n-1] == '_') {
		name = name[:n-1]
	}
	return hasSuffix(name, "api") || hasSuffix(name, "access") || hasSuffix(name, "secret") || hasSuffix(name, "auth")
}

// isCredentials reports whether all of the header with this name is secret.
func isCredentials(name []byte) bool {
	return hasSuffix(name, "authorization") || hasSuffix(name, "cookie")
}

// beginsArgument reports whether the name of a header at i, after the byte before, is the beginning
// of an argument, or follows the option for headers there.
func (s *search) beginsArgument(i int, before byte) bool {
	if before == '=' {
		option, first := s.nameBefore(i - 1)
		return first == 0 && isOption(option) && hasSuffix(option, "header")
	}
	return before == 0
}

func hasSuffix(text []byte, suffix string) bool {
	return len(text) >= len(suffix) && bytes.EqualFold(text[len(text)-len(suffix):], []byte(suffix))
}

func skipBlanks(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t') {
		i++
	}
	return i
}

// argument returns the end of the argument at i.
func argument(text []byte, i int) int { return until(text, i, "\x00") }

// word returns the end of the word at i, or of the text in quotes.
func word(text []byte, i int) int {
	if i == len(text) || !isQuote(text[i]) {
		return until(text, i, spaces)
	}
	for j := i + 1; j < len(text) && text[j] != 0; j++ {
		switch {
		case text[j] == text[i]:
			return j + 1
		case text[j] == '\\' && text[i] == '"' && j+1 < len(text) && text[j+1] != 0:
			j++
		}
	}
	return argument(text, i)
}

// until returns the place of the first of some ASCII bytes from i on, or the end of text.
func until(text []byte, i int, ends string) int {
	if n := bytes.IndexAny(text[i:], ends); n >= 0 {
		return i + n
	}
	return len(text)
}
