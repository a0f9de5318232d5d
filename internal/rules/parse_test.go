package rules

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/strict"
)

func parse(file string, data []byte) (Set, error) {
	var set Set
	err := strict.Parse(file, data, func(root strict.Value) { set.add(file, root) })
	return set, err
}

func TestAllKeysOfARuleFileAreRead(t *testing.T) {
	const content = `# what we saw in May
bannedCommandStrings: [one, one]
bannedPrograms:
  - two
bannedCommandSubstrings:

  - "three "
allowedCommandPatterns: ['.*\bfour']
action: observe
`
	got, err := parse("may.yaml", []byte(content))
	if err != nil {
		t.Fatal(err)
	}
	wantBans := []Ban{
		{Word, "one", Observe, Origin{"may.yaml", 2, "bannedCommandStrings", 0}},
		{Word, "one", Observe, Origin{"may.yaml", 2, "bannedCommandStrings", 1}},
		{Program, "two", Observe, Origin{"may.yaml", 4, "bannedPrograms", 0}},
		{Substring, "three ", Observe, Origin{"may.yaml", 7, "bannedCommandSubstrings", 0}},
	}
	wantAllowed := []Pattern{{`.*\bfour`, Origin{"may.yaml", 8, "allowedCommandPatterns", 0}}}
	if !slices.Equal(got.Bans, wantBans) || !slices.Equal(got.Allowed, wantAllowed) {
		t.Errorf("got  %v\nwant %v and %v", got, wantBans, wantAllowed)
	}
}

func TestTheJSONFilesOfEarlierVersionsAreRead(t *testing.T) {
	got, err := Load([]string{"testdata/old.json"})
	if err != nil {
		t.Fatal(err)
	}
	wantBans := []Ban{
		{Word, "Banned.String/One", Kill, Origin{"testdata/old.json", 3, "bannedCommandStrings", 0}},
		{Word, "bänned string 2", Kill, Origin{"testdata/old.json", 4, "bannedCommandStrings", 1}},
	}
	wantAllowed := []Pattern{{`(/usr)?/bin/ls\s.*`, Origin{"testdata/old.json", 7, "allowedCommandPatterns", 0}}}
	if !slices.Equal(got.Bans, wantBans) || !slices.Equal(got.Allowed, wantAllowed) {
		t.Errorf("got  %v\nwant %v and %v", got, wantBans, wantAllowed)
	}
}

func TestFilesWithoutRulesAreValid(t *testing.T) {
	for _, content := range []string{"{}", "bannedPrograms: []", `{"action": "observe"}`} {
		if got, err := parse("f", []byte(content)); err != nil || len(got.Bans)+len(got.Allowed) > 0 {
			t.Errorf("%s: got %v and error %v", content, got, err)
		}
	}
}

func TestAnInvalidRuleIsRefused(t *testing.T) {
	for name, test := range map[string]struct{ content, want string }{
		"an empty ban":   {`bannedCommandStrings: [a, ""]`, "f:1: bannedCommandStrings[1]: empty string"},
		"a blank ban":    {`bannedCommandSubstrings: [" \t"]`, "f:1: bannedCommandSubstrings[0]: only white space, which nearly every command line contains"},
		"a ban with NUL": {`bannedCommandStrings: ["a\0b"]`, "f:1: bannedCommandStrings[0]: contains a NUL byte, which no argument can contain"},
		"a ban that is too long": {`bannedCommandStrings: [` + strings.Repeat("x", MaxTextBytes+1) + "]",
			"f:1: bannedCommandStrings[0]: 4097 bytes long, at most 4096 are allowed"},
		"a program with its path": {"bannedPrograms:\n- /bin/a", `f:2: bannedPrograms[0]: contains "/", but only base names are compared: write the part after the last "/"`},
		"an empty program":        {"bannedPrograms:\n- ''", "f:2: bannedPrograms[0]: empty string"},
		"an empty pattern":        {`{"allowedCommandPatterns": [""]}`, "f:1: allowedCommandPatterns[0]: empty string"},
		"a broken pattern":        {"allowedCommandPatterns:\n- a(b", "f:2: allowedCommandPatterns[0]: not a regular expression (RE2): error parsing regexp: missing closing ): `a(b`"},
		"a pattern in another syntax": {"allowedCommandPatterns:\n- (?!a)b",
			"f:2: allowedCommandPatterns[0]: not a regular expression (RE2): error parsing regexp: invalid or unsupported Perl syntax: `(?!`"},
		"a pattern that is too large": {"allowedCommandPatterns:\n- (a{1000}){1000}",
			"f:2: allowedCommandPatterns[0]: not a regular expression (RE2): error parsing regexp: invalid repeat count: `{1000}`"},
		"an unknown action": {"action: Kill", `f:1: action: "Kill" is neither "kill" nor "observe"`},
		"a key in another case": {"bannedcommandstrings: [a]",
			`f:1: unknown key "bannedcommandstrings"; known keys: action, allowedCommandPatterns, bannedCommandStrings, bannedCommandSubstrings, bannedPrograms`},
		"null for a list": {`{"bannedCommandStrings": null}`, "f:1: bannedCommandStrings: want a list, found null"},
		"several at once": {"bannedPrograms: ['', a/b]\naction: 1", "" +
			"f:1: bannedPrograms[0]: empty string\n" +
			`f:1: bannedPrograms[1]: contains "/", but only base names are compared: write the part after the last "/"` + "\n" +
			"f:2: action: want a string, found a number (1); put it in quotes"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parse("f", []byte(test.content))
			if err == nil {
				t.Fatalf("accepted as %v", got)
			}
			if err.Error() != test.want {
				t.Errorf("got\n%v\nwant\n%s", err, test.want)
			}
		})
	}
}

func TestTheLongestBanIsAccepted(t *testing.T) {
	got, err := parse("f", []byte("bannedPrograms: ["+strings.Repeat("x", MaxTextBytes)+"]"))
	if err != nil || len(got.Bans) != 1 {
		t.Errorf("got %d bans and error %v", len(got.Bans), err)
	}
}

// FuzzParse checks that Parse does not panic, and that the rules of an accepted file,
// written to a file again, are accepted as well.
func FuzzParse(f *testing.F) {
	seeds, err := filepath.Glob("builtin/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(seeds, "testdata/old.json") {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, seed := range []string{
		"bannedPrograms: [a,\r b,\u0085 c,\u2028 d]",
		"bannedPrograms: &a [a]\nbannedCommandStrings: *a",
		"? [a]\n: {<<: !!binary YQ==}\n--- |\n  a\n",
		"{\"allowedCommandPatterns\":\t[\"\\ud83d\\ude00\\/[^a]{2,}?\\\\b\"], \"action\": \"observe\"}",
		"{\"bannedCommandSubstrings\": [[[[0, -1e9, null, true, {\"a\": {}}]]]]",
	} {
		f.Add([]byte(seed))
	}
	// YAML 1.1, 5.4: "Line Break Characters".
	lineBreak := regexp.MustCompile("\r\n|[\n\r\u0085\u2028\u2029]")
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := parse("f", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f:") {
				t.Errorf("error without its place: %v", err)
			}
			return
		}
		again := make(map[string]any)
		for _, kind := range []Kind{Word, Substring, Program} {
			texts := []string{}
			for _, ban := range set.Bans {
				if ban.Kind == kind {
					texts = append(texts, ban.Text)
				}
			}
			again[kind.Key()] = texts
		}
		exprs := []string{}
		for _, pattern := range set.Allowed {
			if _, err := regexp.Compile(pattern.Expr); err != nil {
				t.Errorf("accepted a pattern: %v", err)
			}
			exprs = append(exprs, pattern.Expr)
		}
		again[KeyAllowed] = exprs
		written, err := json.Marshal(again)
		if err != nil {
			t.Fatal(err)
		}
		reread, err := parse("f", written)
		if err != nil {
			t.Fatalf("%s\nread from %q: %v", written, data, err)
		}
		if len(reread.Bans) != len(set.Bans) || len(reread.Allowed) != len(set.Allowed) {
			t.Errorf("%v became %v", set, reread)
		}
		lines := 1 + len(lineBreak.FindAllIndex(data, -1))
		for _, ban := range set.Bans {
			if ban.Origin.Line < 1 || ban.Origin.Line > lines {
				t.Errorf("%v is in no line of %q", ban, data)
			}
		}
	})
}
