package words

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// build builds a package of this module and returns its programs with their contents.
func build(t *testing.T, pkg string) map[string][]byte {
	t.Helper()
	if testing.Short() {
		t.Skip("builds programs, skipped under -short")
	}
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", dir+"/", pkg)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", pkg, err, out)
	}
	programs := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		t.Fatalf("building %s: %d programs, %v", pkg, len(entries), err)
	}
	for _, e := range entries {
		if programs[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return programs
}

func TestAProgramWithTheListHasNoWordOfIt(t *testing.T) {
	for name, content := range build(t, "./testdata/program") {
		if s := count(content); s.Counts() != (Counts{}) {
			t.Errorf("%s: %+v %q", name, s.Counts(), s.Found())
		}
	}
}

// The agent has many of the words, because it looks for them elsewhere: in the built-in
// rules, and in what tcpflowkiller reads. So the agent's own file is one that a detector
// must leave alone. All words in it stand in other sources, and none comes from the list.
func TestTheListAddsNoWordToOurPrograms(t *testing.T) {
	elsewhere := wordsOfSources(t, "../../..")
	for name, content := range build(t, "../../../../cmd/...") {
		s := count(content)
		t.Logf("%s: %+v %q", name, s.Counts(), s.Found())
		for _, word := range s.Found() {
			if !slices.Contains(elsewhere, word) {
				t.Errorf("%s contains %s, and no other source does", name, word)
			}
		}
	}
}

// wordsOfSources returns the words in the sources below a directory, except for tests and
// for the detector hashwork.
func wordsOfSources(t *testing.T, root string) []string {
	t.Helper()
	s := NewSearch()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "hashwork" || d.Name() == "testdata"):
			return filepath.SkipDir
		case strings.HasSuffix(path, "_test.go") || filepath.Ext(path) != ".go" && filepath.Ext(path) != ".yaml":
			return nil
		}
		content, err := os.ReadFile(path)
		s.Break()
		_, _ = s.Write(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s.Found()
}
