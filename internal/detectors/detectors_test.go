package detectors

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each detector is a folder of its name, whose README leads to a page of the documentation.
func TestEachDetectorIsDocumented(t *testing.T) {
	const docs = "../../docs"
	index, err := os.ReadFile(filepath.Join(docs, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, k := range All() {
		if seen[k.Name] {
			t.Errorf("two detectors are called %s", k.Name)
		}
		seen[k.Name] = true
		readme, err := os.ReadFile(filepath.Join("../detector", k.Name, "README.md"))
		if err != nil {
			t.Error(err)
			continue
		}
		page := regexp.MustCompile(`\]\(\.\./\.\./\.\./docs/([a-z]+\.md)`).FindSubmatch(readme)
		if page == nil || !strings.Contains(string(index), "("+string(page[1])+")") {
			t.Errorf("the README of %s leads to no page that docs/README.md lists", k.Name)
			continue
		}
		text, err := os.ReadFile(filepath.Join(docs, string(page[1])))
		if err != nil || !strings.Contains(string(text), "`"+k.Name+"`") {
			t.Errorf("%s does not describe %s: %v", page[1], k.Name, err)
		}
	}
}
