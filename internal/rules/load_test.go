package rules

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// write creates files and their directories below dir.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// link creates symbolic links below dir.
func link(t *testing.T, dir string, targets map[string]string) {
	t.Helper()
	for name, target := range targets {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// programs lists the banned programs of s as "FILE NAME", without dir.
func programs(dir string, s Set) string {
	var names []string
	for _, ban := range s.Bans {
		names = append(names, strings.TrimPrefix(ban.Origin.File, dir+"/")+" "+ban.Text)
	}
	return strings.Join(names, ", ")
}

func TestTheRuleFilesOfADirectoryAreRead(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"b.json":          `{"bannedPrograms": ["b"]}`,
		"a.yml":           "bannedPrograms: [a]\naction: observe",
		"c.yaml":          "bannedPrograms: [c]",
		".hidden.yaml":    "bannedPrograms: [hidden]",
		"README.md":       "These are our rules.",
		"c.yaml.bak":      "bannedPrograms: [old]",
		"further/in.yaml": "bannedPrograms: [in]",
	})
	got, err := Load([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	if names, want := programs(dir, got), "a.yml a, b.json b, c.yaml c"; names != want {
		t.Errorf("got %s, want %s", names, want)
	}
	if got.Bans[0].Action != Observe || got.Bans[1].Action != Kill || got.Bans[2].Action != Kill {
		t.Errorf("the action of a.yml applies to other files, or not to its own: %v", got)
	}
}

func TestAMountedConfigMapIsReadOnce(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"..2026_11_02/pools.yaml": "bannedPrograms: [new]",
		"..2026_11_01/pools.yaml": "bannedPrograms: [old]",
	})
	link(t, dir, map[string]string{"..data": "..2026_11_02", "pools.yaml": "..data/pools.yaml"})
	got, err := Load([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	if names, want := programs(dir, got), "pools.yaml new"; names != want {
		t.Errorf("got %s, want %s", names, want)
	}
}

func TestPathsAreMergedInTheirOrder(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"rules":   `{"bannedPrograms": ["a"]}`,
		".hidden": "bannedPrograms: [b]",
		"d/c.yml": "bannedPrograms: [a]",
	})
	got, err := Load([]string{dir + "/rules", dir + "/d", dir + "/.hidden"})
	if err != nil {
		t.Fatal(err)
	}
	if names, want := programs(dir, got), "rules a, d/c.yml a, .hidden b"; names != want {
		t.Errorf("got %s, want %s", names, want)
	}
	if got, err := Load(nil); err != nil || len(got.Bans) > 0 {
		t.Errorf("no paths: got %v and error %v", got, err)
	}
}

func TestNoRuleIsLoadedIfAFileHasAProblem(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"good/a.yaml":      "bannedPrograms: [a]",
		"bad/a.yaml":       "bannedPrograms: [a, '']",
		"bad/b.yaml":       "bannedPrograms: [a]",
		"bad/c.yaml":       "bannedPrograms: a",
		"none/README.md":   "No rules yet.",
		"folder/x.yaml/in": "",
		"dangling/README":  "",
	})
	link(t, dir, map[string]string{"dangling/a.yaml": "absent"})
	for path, want := range map[string]string{
		"bad": "DIR/bad/a.yaml:1: bannedPrograms[1]: empty string\n" +
			`DIR/bad/c.yaml:1: bannedPrograms: want a list, found a string ("a")`,
		"none":     "DIR/none: no .json, .yaml, .yml or .addresses file in this directory; add a file with the content {} if no rules are intended",
		"absent":   "looking for rule files: stat DIR/absent: no such file or directory",
		"folder":   "DIR/folder/x.yaml: not a regular file",
		"dangling": "open DIR/dangling/a.yaml: no such file or directory",
	} {
		got, err := Load([]string{dir + "/good", dir + "/" + path})
		if len(got.Bans) > 0 {
			t.Errorf("%s: got %v", path, got)
		}
		if want := strings.ReplaceAll(want, "DIR", dir); err == nil || err.Error() != want {
			t.Errorf("%s: got\n%v\nwant\n%s", path, err, want)
		}
	}
}
