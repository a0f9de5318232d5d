package agent

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cryptnono/cryptnono/internal/config"
)

// A change of the files during Read, or after it, must change their version.
func TestAChangeOfTheFilesDuringReadIsDetected(t *testing.T) {
	for name, c := range map[string]struct {
		change string // the file that is written during Read, or after it
		same   bool
	}{
		"nothing changes":      {"", true},
		"the settings change":  {"settings.yaml", false},
		"a rule file changes":  {"rules.yaml", false},
		"a rule file is added": {"more.yaml", false},
	} {
		dir := t.TempDir()
		write := func(file, text string) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("settings.yaml", "{}")
		write("rules.yaml", "bannedCommandStrings: [example]\n")
		files := []string{filepath.Join(dir, "settings.yaml")}
		p, err := Read(files, func() (config.Config, error) {
			c1 := config.Default(nil)
			c1.Rules = []string{dir}
			if c.change == "settings.yaml" {
				write(c.change, "{} # changed")
			}
			return c1, nil
		})
		if err != nil && name != "the settings change" {
			t.Fatal(err)
		}
		if c.change != "" && c.change != "settings.yaml" {
			write(c.change, "bannedCommandStrings: [example, other]\n")
		}
		if now := versionOf(append(files, dir)); (now == p.version) != c.same {
			t.Errorf("%s: same version is %v", name, now == p.version)
		}
	}
}
