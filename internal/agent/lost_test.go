package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The allow patterns of a file that was refused at the start are in effect: without them, more is killed. So a
// reload loses none, though the file is refused again.
func TestAReloadLosesNoAllowPatternOfARefusedFile(t *testing.T) {
	const pattern = "/opt/site/xmrig-exporter .*"
	settings := ruleFiles(t, nil)
	file := filepath.Join(settings.Rules[0], "b.yaml")
	read := func(text string) Policy {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := CompileGood(settings)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	const start = "bannedCommandStrings: ['']\nallowedCommandPatterns: ['" + pattern + "', '/bin/b']\n"
	old := read(start)
	if len(old.Refused) != 1 || len(old.Matcher.Set.Allowed) != 2 {
		t.Fatalf("refused %v, allow patterns %v", old.Refused, old.Matcher.Set.Allowed)
	}
	for name, c := range map[string]struct {
		text  string
		loses bool
	}{
		"the same file":                   {start, false},
		"another mistake in a ban":        {"allowedCommandPatterns: ['/bin/b', '/bin/c', '" + pattern + "']\nbannedPrograms: ['']\n", false},
		"a mistake in the syntax":         {"bannedCommandStrings: ['pool.example'\nallowedCommandPatterns: ['" + pattern + "', '/bin/b']\n", true},
		"a mistake in the pattern":        {"bannedCommandStrings: ['']\nallowedCommandPatterns: ['" + pattern + "(', '/bin/b']\n", true},
		"corrected":                       {"bannedCommandStrings: [pool.example]\nallowedCommandPatterns: ['" + pattern + "', '/bin/b']\n", false},
		"corrected, and without patterns": {"bannedCommandStrings: [pool.example]\n", false},
	} {
		next := read(c.text)
		err := next.lost(&old)
		if (err != nil) != c.loses {
			t.Errorf("%s: %v", name, err)
		}
		if want := file + `: an allow pattern that is in effect would be lost: "` + pattern + `"`; c.loses && !strings.HasSuffix(errText(err), want) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}
