package notify

import (
	"errors"
	"net/url"
	"strings"
	"unicode"
)

// minSecret is the length in bytes from which on a text can be secret, and minWord that of a word
// in it. Shorter ones are in many errors.
const minSecret, minWord = 4, 8

// secrets are texts of a request that no error may contain. A receiver can return what it was sent.
type secrets []string

// secretsOf returns what can be secret in a URL: all but the host.
func secretsOf(u *url.URL) secrets {
	var s secrets
	password, _ := u.User.Password()
	query, _ := url.QueryUnescape(u.RawQuery) // "" if it is not escaped well
	for _, text := range []string{u.Path, u.EscapedPath(), query, u.RawQuery, u.User.Username(), password} {
		s.add(text)
	}
	return s
}

// add adds a text, and its long words, because a receiver can return a part, or escape the rest.
func (s *secrets) add(text string) {
	text = strings.ToLower(text)
	if len(text) >= minSecret {
		*s = append(*s, text)
	}
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' && r != '_' }) {
		if len(word) >= minWord {
			*s = append(*s, word)
		}
	}
}

// in reports whether a text contains a secret.
func (s secrets) in(text string) bool {
	text = strings.ToLower(text)
	for _, secret := range s {
		if strings.Contains(text, secret) {
			return true
		}
	}
	return false
}

// hide returns an error, or another one in its place if it contains a secret.
func (s secrets) hide(err error) error {
	if err != nil && s.in(err.Error()) {
		return errors.New("the error is left out: it contains a part of the URL or a header")
	}
	return err
}
