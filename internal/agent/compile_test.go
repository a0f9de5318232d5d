package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/config"
	known "github.com/cryptnono/cryptnono/internal/detectors"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// ruleFiles writes rule files and returns settings without built-in rules that name their directory.
func ruleFiles(t *testing.T, files map[string]string) config.Config {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := config.Default(known.All())
	c.BuiltinRules.SwitchAll(false)
	c.Rules = []string{dir}
	return c
}

func TestARuleFileWithAProblemIsLeftOut(t *testing.T) {
	for name, c := range map[string]struct {
		files   map[string]string
		bans    string // in effect
		allowed string
		refused string // problems, without the directory
	}{
		"none has a problem": {
			map[string]string{"a.yaml": "bannedCommandStrings: [from-a]", "b.yaml": "bannedCommandStrings: [from-b]"},
			"from-a from-b", "", "",
		},
		"one cannot be parsed": {
			map[string]string{"a.yaml": "bannedCommandStrings: [from-a", "b.yaml": "bannedCommandStrings: [from-b]"},
			"from-b", "", "a.yaml:1: ",
		},
		"a ban is invalid, and the allow patterns of the file stay": {
			map[string]string{"a.yaml": "bannedCommandStrings: [from-a, '']\nallowedCommandPatterns: [/bin/a, '(?=x)', /bin/b]", "b.yaml": "bannedCommandStrings: [from-b]"},
			"from-b", "/bin/a /bin/b", "a.yaml:1: bannedCommandStrings[1]: empty string\n" +
				"a.yaml:2: allowedCommandPatterns[1]: not a regular expression (RE2): error parsing regexp: invalid or unsupported Perl syntax: `(?=`",
		},
		"a ban would kill the node": {
			map[string]string{"a.yaml": "bannedCommandStrings: [from-a]", "b.yaml": "bannedPrograms: [kubelet]\nallowedCommandPatterns: [/bin/b]", "c.yaml": "bannedCommandStrings: [from-c]"},
			"from-a from-c", "/bin/b", `b.yaml:1: bannedPrograms[0]: "kubelet" would kill kubelet`,
		},
		"an allow pattern allows everything": {
			map[string]string{"a.yaml": "allowedCommandPatterns: ['.*']", "b.yaml": "bannedCommandStrings: [from-b]"},
			"from-b", "", "a.yaml:1: allowedCommandPatterns[0]: ",
		},
		"each in another way": {
			map[string]string{"a.yaml": "bannedPrograms: [kubelet]", "b.yaml": "none: 1", "c.yaml": "bannedCommandStrings: [from-c]", "d.json": ""},
			"from-c", "", "a.yaml:1: bannedPrograms[0]: \nb.yaml:1: \nd.json: empty file",
		},
	} {
		t.Run(name, func(t *testing.T) {
			settings := ruleFiles(t, c.files)
			p, err := CompileGood(settings)
			if err != nil {
				t.Fatal(err)
			}
			var bans, allowed []string
			for _, b := range p.Matcher.Set.Bans {
				bans = append(bans, b.Text)
			}
			for _, a := range p.Matcher.Set.Allowed {
				allowed = append(allowed, a.Expr)
			}
			if got := strings.Join(bans, " "); got != c.bans {
				t.Errorf("bans %q, want %q", got, c.bans)
			}
			if got := strings.Join(allowed, " "); got != c.allowed {
				t.Errorf("allow patterns %q, want %q", got, c.allowed)
			}
			got := strings.Split(strings.ReplaceAll(errText(p.refusal()), settings.Rules[0]+"/", ""), "\n")
			want := strings.Split(c.refused, "\n")
			for i := range max(len(got), len(want)) {
				if i >= len(got) || i >= len(want) || !strings.HasPrefix(got[i], want[i]) || want[i] == "" && got[i] != "" {
					t.Fatalf("refused:\n%s\nwant:\n%s", strings.Join(got, "\n"), c.refused)
				}
			}
		})
	}
}

// The bad ones of many files are found without compiling each of the others.
func TestABadFileIsFoundAmongMany(t *testing.T) {
	n := 2000
	if testing.Short() {
		n /= 4
	}
	files := make(map[string]string)
	for i := range n {
		files[fmt.Sprintf("%04d.yaml", i)] = fmt.Sprintf("bannedCommandStrings: [from-%04d]", i)
	}
	files[fmt.Sprintf("%04d.yaml", n/3)] = "bannedPrograms: [kubelet]"
	files[fmt.Sprintf("%04d.yaml", n-1)] = "bannedPrograms: [sshd]"
	began := time.Now()
	p, err := CompileGood(ruleFiles(t, files))
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > testutil.Patience(10*time.Second) {
		t.Errorf("it took %v", took)
	}
	if bans := len(p.Matcher.Set.Bans); bans != n-2 || len(p.Refused) != 2 {
		t.Errorf("%d bans of %d, refused %v", bans, n, p.Refused)
	}
}

func TestWhatIsDoneWithoutABadFileIsASetting(t *testing.T) {
	c := ruleFiles(t, map[string]string{"a.yaml": "{", "b.yaml": "bannedCommandStrings: [from-b]"})
	area := match.Area([]string{"/bin/echo", "from-b"})
	for on, want := range map[config.BadRules]match.Outcome{config.KillWithout: match.Banned, config.ObserveWithout: match.Observed} {
		c.OnBadRules = on
		p, err := CompileGood(c)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Matcher.Judge([]byte("/bin/echo"), area).Outcome; got != want {
			t.Errorf("%s: %v, want %v", on, got, want)
		}
		if observes := p.Action == rules.Observe; observes != (on == config.ObserveWithout) {
			t.Errorf("%s: the action is %s", on, p.Action)
		}
	}
	c.OnBadRules = config.StopWithout
	if _, err := CompileGood(c); err == nil || !strings.Contains(err.Error(), "a.yaml") {
		t.Errorf("stop: %v", err)
	}
}

func TestUnsafeSettingsStopTheStart(t *testing.T) {
	c := ruleFiles(t, map[string]string{"a.yaml": "{"})
	c.Exemptions.Cgroups = []string{"/"}
	if _, err := CompileGood(c); err == nil || !strings.Contains(err.Error(), "exemptions.cgroups") {
		t.Errorf("got %v", err)
	}
}

// A reload may take a file back, but lose none.
func TestAReloadLosesNoRuleFile(t *testing.T) {
	with := func(paths ...string) *Policy {
		p := new(Policy)
		for _, path := range paths {
			p.Refused = append(p.Refused, rules.File{Path: path, Err: os.ErrInvalid})
		}
		return p
	}
	for _, c := range []struct {
		old, next *Policy
		loses     bool
	}{
		{with(), with(), false},
		{with(), with("a"), true},
		{with("a"), with("a"), false},
		{with("a"), with(), false},
		{with("a", "b"), with("b"), false},
		{with("a"), with("b"), true},
	} {
		if err := c.next.lost(c.old); (err != nil) != c.loses {
			t.Errorf("from %v to %v: %v", c.old.Refused, c.next.Refused, err)
		}
	}
}

func TestTheHashIsOfSettingsAndRules(t *testing.T) {
	hash := func(change func(*config.Config)) string {
		t.Helper()
		c := ruleFiles(t, map[string]string{"a.yaml": "bannedCommandStrings: [from-a]"})
		file := filepath.Join(c.Rules[0], "a.yaml")
		change(&c)
		p, err := Compile(c)
		if err != nil {
			t.Fatal(err)
		}
		for i := range p.Matcher.Set.Bans { // another directory in each call
			if o := &p.Matcher.Set.Bans[i].Origin; o.File == file {
				o.File = "a.yaml"
			}
		}
		p.Rules = nil
		h, err := p.hash()
		if err != nil || len(h) != 12 {
			t.Fatalf("%q: %v", h, err)
		}
		return h
	}
	same := hash(func(*config.Config) {})
	if hash(func(c *config.Config) { c.NodeName = "another"; c.Places = map[string]string{"action": "x"} }) != same {
		t.Error("machines with the same settings have different hashes")
	}
	for name, change := range map[string]func(*config.Config){
		"action":   func(c *config.Config) { c.Action = rules.Observe },
		"detector": func(c *config.Config) { c.Detectors = config.Default(known.All()[:1]).Detectors },
		"built-in": func(c *config.Config) { c.BuiltinRules.SwitchAll(true) },
		"rules": func(c *config.Config) {
			if err := os.WriteFile(filepath.Join(c.Rules[0], "b.yaml"), []byte("bannedAddresses: [192.0.2.1]"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		if hash(change) == same {
			t.Errorf("%s: the hash is the same", name)
		}
	}
}
