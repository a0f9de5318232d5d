// Package docs checks the documents against the code.
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestEachFolderHasOneRow(t *testing.T) {
	_, section, _ := strings.Cut(read(t, architecture), "\n## The folders\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var rows []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([\\w./]+)` \\|").FindAllStringSubmatch(section, -1) {
		rows = append(rows, m[1])
	}
	for _, parent := range []string{"internal", "test"} {
		folders, err := os.ReadDir(filepath.Join(root, parent))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range folders {
			if f.IsDir() && !slices.Contains(rows, parent+"/"+f.Name()) {
				t.Errorf("%s/%s has no row", parent, f.Name())
			}
		}
	}
	slices.Sort(rows)
	if once := slices.Compact(slices.Clone(rows)); len(once) != len(rows) {
		t.Errorf("a folder has two rows: %v", rows)
	}
}

// documents returns the pages that are written by hand.
func documents(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"*.md", "docs/*.md", "internal/*/README.md", "internal/*/*/README.md", "charts/*/README.md"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, files...)
	}
	if len(all) < 20 {
		t.Fatalf("found only %v", all)
	}
	return all
}

// Links lead to files that exist, and to headings that they have.
func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]*)(?:#([^)\s]+))?\)`)
	for _, file := range documents(t) {
		text := read(t, strings.TrimPrefix(file, root+"/"))
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			to := file
			if m[1] != "" {
				to = filepath.Join(filepath.Dir(file), m[1])
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %v", file, err)
			} else if m[2] != "" && !slices.Contains(anchors(read(t, strings.TrimPrefix(to, root+"/"))), m[2]) {
				t.Errorf("%s: %s has no heading #%s", file, to, m[2])
			}
		}
	}
}

// anchors returns the names that GitHub gives to the headings of a page.
func anchors(page string) (all []string) {
	drop := regexp.MustCompile("[^a-z0-9 _-]")
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		all = append(all, strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return all
}

// Paths that a page names in the text, as `internal/verdict`, exist.
func TestNamedPathsExist(t *testing.T) {
	name := regexp.MustCompile("`((?:internal|bpf|cmd|test|docs|packaging|scripts|charts)/[\\w./-]+)`")
	for _, file := range documents(t) {
		for _, m := range name.FindAllStringSubmatch(read(t, strings.TrimPrefix(file, root+"/")), -1) {
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// What a page tells to run is there: targets of make, their variables that select, and tests.
func TestNamedTargetsAndTestsAreThere(t *testing.T) {
	makefile, tests := read(t, "Makefile"), sources(t, "_test.go")
	target := regexp.MustCompile("(?m)(?:`|^    |&& )make ([a-z-]+)([^`\n&]*)")
	selects := regexp.MustCompile(`\b(?:PKG|RUN|ONLY|KERNEL)\b`)
	test := regexp.MustCompile(`\bTest[A-Z]\w+`)
	found := 0
	for _, file := range documents(t) {
		text := read(t, strings.TrimPrefix(file, root+"/"))
		for _, m := range target.FindAllStringSubmatch(text, -1) {
			found++
			_, recipe, isTarget := strings.Cut(makefile, "\n"+m[1]+":")
			recipe, _, _ = strings.Cut(recipe, "\n\n")
			if !isTarget {
				t.Errorf("%s: no target is named %s", file, m[1])
			}
			for _, v := range selects.FindAllString(m[2], -1) {
				if !strings.Contains(recipe, v) {
					t.Errorf("%s: the target %s has no %s", file, m[1], v)
				}
			}
		}
		for _, name := range test.FindAllString(text, -1) {
			found++
			if !strings.Contains(tests, "\nfunc "+name+"(") {
				t.Errorf("%s: no test is named %s", file, name)
			}
		}
	}
	if found < 100 {
		t.Errorf("only %d are named", found)
	}
}

// sources returns all files of the repository whose names have this ending.
func sources(t *testing.T, ending string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".cache" || entry.Name() == ".git" || file == root+"/bin"):
			return fs.SkipDir
		case strings.HasSuffix(file, ending):
			all.WriteString(read(t, strings.TrimPrefix(file, root+"/")))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// The site does not build with a page that its navigation lacks: said here within seconds.
func TestEachPageIsInTheNavigation(t *testing.T) {
	pages := regexp.MustCompile(`/docs/\w+`).FindAllString(read(t, "docs/site/hugo.yaml"), -1)
	for _, file := range documents(t) {
		name, isPage := strings.CutPrefix(strings.TrimSuffix(file, ".md"), root+"/docs/")
		if isPage && name != "README" && !slices.Contains(pages, "/docs/"+name) {
			t.Errorf("docs/site/hugo.yaml does not name /docs/%s", name)
		}
	}
}

// The README of a folder has a row for each source file in it.
func TestReadmesNameEachFile(t *testing.T) {
	row, name := regexp.MustCompile("(?m)^\\| (`[^|]*) \\|"), regexp.MustCompile("`([^`]+)`")
	for _, file := range documents(t) {
		if !strings.HasPrefix(file, root+"/internal/") {
			continue
		}
		folder := filepath.Dir(file)
		var named []string
		for _, cell := range row.FindAllStringSubmatch(read(t, strings.TrimPrefix(file, root+"/")), -1) {
			for _, m := range name.FindAllStringSubmatch(cell[1], -1) {
				files, err := filepath.Glob(filepath.Join(folder, m[1]))
				if err != nil || len(files) == 0 {
					t.Errorf("%s: no file %s", file, m[1])
				}
				named = append(named, files...)
			}
		}
		for _, pattern := range []string{"*.go", "*.c", "*.h"} {
			files, err := filepath.Glob(filepath.Join(folder, pattern))
			if err != nil {
				t.Fatal(err)
			}
			for _, source := range files {
				generated := strings.Contains(source, "_bpfel.") || filepath.Base(source) == "gen.go"
				if !generated && !strings.HasSuffix(source, "_test.go") && !slices.Contains(named, source) {
					t.Errorf("%s: no row for %s", file, filepath.Base(source))
				}
			}
		}
	}
}

// Functions that the page names with their file, as `newSet` in `internal/exempt/set.go`,
// are defined there.
func TestNamedFunctionsAreThere(t *testing.T) {
	name := regexp.MustCompile("`(\\w+)`(?: \\(|\\s+in\\s+)`([\\w./]+\\.(?:go|c|h))`")
	all := name.FindAllStringSubmatch(read(t, architecture), -1)
	if len(all) < 3 {
		t.Errorf("found only %q", all)
	}
	for _, m := range all {
		file := m[2]
		if !strings.Contains(file, "/") {
			file = detector + "/" + file
		}
		text := read(t, file)
		if body(text, m[1]) == "" && !strings.Contains(text, "\ntype "+m[1]+" ") {
			t.Errorf("%s is not defined in %s", m[1], file)
		}
	}
}
