package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// ruleSets are the rules for the measurements.
var ruleSets = []ruleSet{{name: "built-in"}, {name: "3 strings", strings: 3}, {name: "1,000 strings", strings: 1000}, {name: "50,000 strings", strings: 50_000}}

// A ruleSet is the built-in rules or a number of ban strings.
type ruleSet struct {
	name    string
	strings int
	allowed int // allow patterns
	// environment is whether the built-in rules are searched there too.
	environment bool
}

// flags returns the agent's flags for these rules.
func (r ruleSet) flags(b *bench) ([]string, error) {
	if r.environment {
		return []string{"--builtin-rules=environment=observe"}, nil
	}
	if r.strings == 0 {
		return nil, nil
	}
	file := filepath.Join(b.dir, fmt.Sprintf("rules%d-%d.json", r.strings, r.allowed))
	content, err := json.Marshal(map[string]any{
		"bannedCommandStrings":   banStrings(r.strings),
		"allowedCommandPatterns": allowPatterns(r.allowed),
	})
	if err != nil {
		return nil, err
	}
	return []string{"--builtin-rules=false", "--rules", file}, os.WriteFile(file, content, 0o600)
}

// allowPatterns returns n patterns that are all matched to the end of a text.
func allowPatterns(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf([]string{`.*allowed-%d.*`, `.*\bfine-%d`, `.*one-%d .*other`, `.*[xyz]spared-%d\s.*`}[i%4], i)
	}
	return all
}

// banStrings returns n strings of 8 to 37 bytes, like wallet addresses and the names of pools. They
// are the same in each run.
func banStrings(n int) []string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789.-"
	rnd := rand.New(rand.NewPCG(1, 2))
	all := make([]string, n)
	for i := range all {
		text := make([]byte, 8+rnd.IntN(30))
		for j := range text {
			text[j] = letters[rnd.IntN(len(letters))]
		}
		all[i] = string(text)
	}
	return all
}
