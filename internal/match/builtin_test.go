package match

import (
	"testing"

	"github.com/cryptnono/cryptnono/internal/rules"
)

// A shorter ban makes each exec more expensive: the filter compares only as many symbols as
// the shortest ban has.
func TestNoBuiltInBanIsShorterThanTheFilter(t *testing.T) {
	m, err := Compile(rules.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	if m.Prefix != maxPrefix {
		t.Errorf("a built-in ban has %d symbols, less than %d", m.Prefix, maxPrefix)
	}
}
