package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// ruleSets are the rules for the measurements.
var ruleSets = []ruleSet{{"built-in", 0, 0}, {"3 strings", 3, 0}, {"1,000 strings", 1000, 0}, {"50,000 strings", 50_000, 0}}

// A ruleSet is the built-in rules or a number of ban strings.
type ruleSet struct {
	name    string
	strings int
	allowed int // allow patterns
}

// flags returns the agent's flags for these rules.
func (r ruleSet) flags(b *bench) ([]string, error) {
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
