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

// Rule files have expressions of their own, in the same automata.
func TestTheBuiltInRulesLeaveRoomForOthers(t *testing.T) {
	var all []rules.Ban
	for _, expr := range []string{
		` --pool[ =][^ ]+:3333`, ` -o [^ ]+:3333`, ` -a rx/[0-9]`, ` -u [^ ]+ -k`, `\b4[0-9AB][1-9A-HJ-NP-Za-km-z]{93}`,
		`relay[0-9]*\.example\.net:[0-9]+`, ` -c [^ ]*miner\.json`, `^/tmp/[^ ]*/worker `, ` --token[ =][0-9a-f]{40}`,
	} {
		ban := rules.Ban{Kind: rules.Expression, Text: expr, Parts: []string{expr}, Action: rules.Kill}
		all = append(all, ban)
		if _, err := Compile(rules.Set{Bans: append(rules.Builtin().Bans, ban)}); err != nil {
			t.Errorf("%s: %v", expr, err)
		}
	}
	if _, err := Compile(rules.Set{Bans: append(rules.Builtin().Bans, all[:4]...)}); err != nil {
		t.Error(err)
	}
}
