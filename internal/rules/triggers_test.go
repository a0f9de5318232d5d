package rules_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// The examples of docs/rules.md. The one without \b is too large.
func TestAnExpressionNeedsATrigger(t *testing.T) {
	for expr, accepted := range map[string]bool{
		` --pool[ =][^ ]+:3333`:              true,
		` -o [^ ]+:3333`:                     true,
		`-[ou] [^ ]+`:                        false,
		`rx/[0-9]`:                           false,
		` -a rx/[0-9]`:                       true,
		`--algo=(?:randomx|kawpow)`:          true,
		`(?:rx|kawpow)`:                      false,
		`\b4[0-9AB][1-9A-HJ-NP-Za-km-z]{93}`: true,
		`4[0-9AB][1-9A-HJ-NP-Za-km-z]{93}`:   false,
		`\b1[1-9A-Za-z]{25,34}\b`:            false,
		`\b1[1-9A-Za-z]{32,34}\b`:            true,
		` -u [^ ]+ -k`:                       true,
	} {
		ban := rules.Ban{Kind: rules.Expression, Text: expr, Parts: []string{expr}, Action: rules.Kill}
		if _, err := match.Compile(rules.Set{Bans: []rules.Ban{ban}}); (err == nil) != accepted {
			t.Errorf("%s: %v", expr, err)
		}
	}
}

func TestTheRulesInTheDocumentsAreAccepted(t *testing.T) {
	page, err := os.ReadFile("../../docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllSubmatch(page, -1)
	if len(blocks) != 2 {
		t.Errorf("found %d rule files in the page, want 2", len(blocks))
	}
	for _, block := range blocks {
		file := filepath.Join(t.TempDir(), "rules.yaml")
		if err := os.WriteFile(file, block[1], 0o600); err != nil {
			t.Fatal(err)
		}
		set, err := rules.Load([]string{file})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := match.Compile(set); err != nil {
			t.Error(err)
		}
	}
}
