package bytedfa

import (
	"errors"
	"strings"
	"testing"
)

// FuzzDFA compares a DFA with package regexp on a text, on its prefixes, and on a text for
// each transition.
func FuzzDFA(f *testing.F) {
	for _, test := range matchTests() {
		f.Add(test.expr, []byte(test.text))
	}
	f.Add(`\x{DFFF}`, []byte("\uFFFD"))
	f.Fuzz(func(t *testing.T, expr string, text []byte) {
		re, reErr := asRegexp(expr)
		d, err := oneDFA([]string{expr}, 256)
		if errors.Is(err, ErrTooLarge) {
			return
		}
		if (err == nil) != (reErr == nil) {
			t.Fatalf("oneDFA: %v, asRegexp: %v", err, reErr)
		}
		if err != nil {
			return
		}
		if prefix, _ := re.LiteralPrefix(); strings.Contains(prefix, "\uFFFD") {
			return // package regexp takes a surrogate in a literal prefix for U+FFFD
		}
		for n := range min(len(text), 32) {
			check(t, d, re, text[:n])
		}
		check(t, d, re, text)
		checkTransitions(t, d, re)
	})
}
