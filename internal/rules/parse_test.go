package rules

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/strict"
)

func parse(file string, data []byte) (Set, error) {
	var set Set
	err := strict.Parse(file, data, func(root strict.Value) { set.add(file, root, builtinParts()) })
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
		{Kind: Word, Text: "one", Action: Observe, Origin: Origin{"may.yaml", 2, "bannedCommandStrings", 0}},
		{Kind: Word, Text: "one", Action: Observe, Origin: Origin{"may.yaml", 2, "bannedCommandStrings", 1}},
		{Kind: Program, Text: "two", Action: Observe, Origin: Origin{"may.yaml", 4, "bannedPrograms", 0}},
		{Kind: Substring, Text: "three ", Action: Observe, Origin: Origin{"may.yaml", 7, "bannedCommandSubstrings", 0}},
	}
	wantAllowed := []Pattern{{`.*\bfour`, Origin{"may.yaml", 8, "allowedCommandPatterns", 0}}}
	if !reflect.DeepEqual(got.Bans, wantBans) || !slices.Equal(got.Allowed, wantAllowed) {
		t.Errorf("got  %v\nwant %v and %v", got, wantBans, wantAllowed)
	}
}

func TestTheJSONFilesOfEarlierVersionsAreRead(t *testing.T) {
	got, err := Load([]string{"testdata/old.json"})
	if err != nil {
		t.Fatal(err)
	}
	wantBans := []Ban{
		{Kind: Word, Text: "Banned.String/One", Action: Kill, Origin: Origin{"testdata/old.json", 3, "bannedCommandStrings", 0}},
		{Kind: Word, Text: "bänned string 2", Action: Kill, Origin: Origin{"testdata/old.json", 4, "bannedCommandStrings", 1}},
	}
	wantAllowed := []Pattern{{`(/usr)?/bin/ls\s.*`, Origin{"testdata/old.json", 7, "allowedCommandPatterns", 0}}}
	if !reflect.DeepEqual(got.Bans, wantBans) || !slices.Equal(got.Allowed, wantAllowed) {
		t.Errorf("got  %v\nwant %v and %v", got, wantBans, wantAllowed)
	}
}

func builtinPartNames() string { return strings.Join(slices.Sorted(maps.Keys(builtinParts())), ", ") }

func TestExpressionsReferToParts(t *testing.T) {
	got, err := parse("f", []byte(`
bannedCommandCombinations:
  - ['${coin}', ' -o .']
commandParts:
  letter: [a, b]
  coin: ['x${letter}', 'y']
bannedCommandPatterns: ['${coin}z']
action: observe
environment: kill
spareShells: true
spareNodeRoot: true
`))
	if err != nil {
		t.Fatal(err)
	}
	const coin = "(?:(?:x(?:(?:a)|(?:b)))|(?:y))"
	want := []Ban{
		{Kind: Combination, Text: "${coin} +  -o .", Parts: []string{coin, " -o ."}, Origin: Origin{"f", 3, "bannedCommandCombinations", 0}},
		{Kind: Expression, Text: "${coin}z", Parts: []string{coin + "z"}, Origin: Origin{"f", 7, "bannedCommandPatterns", 0}},
	}
	for i := range want {
		want[i].Action, want[i].Environment, want[i].Spares = Observe, Kill, Shells|NodeRoot
	}
	if !reflect.DeepEqual(got.Bans, want) {
		t.Errorf("got  %+v\nwant %+v", got.Bans, want)
	}
}

func TestAPartOfAFileHidesTheBuiltInPart(t *testing.T) {
	got, err := parse("f", []byte("commandParts: {pool: [mine]}\nbannedCommandPatterns: ['${pool}']"))
	if err != nil || got.Bans[0].Parts[0] != "(?:(?:mine))" {
		t.Errorf("got %+v and error %v", got.Bans, err)
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
		"a block":        {"bannedCommandStrings:\n- |\n  a\n", "f:2: bannedCommandStrings[0]: ends with a line break, as a block (|) in YAML does: write it on one line"},
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
			`f:1: unknown key "bannedcommandstrings"; known keys: action, allowedCommandPatterns, bannedAddresses, ` +
				`bannedCommandCombinations, bannedCommandPatterns, bannedCommandStrings, bannedCommandSubstrings, bannedNames, bannedPrograms, commandParts, environment, spareNodeRoot, spareShells`},
		"a name that is open in the middle":    {"bannedPrograms: [a*b]", `f:1: bannedPrograms[0]: contains "*" before its end, but only the end of a name can be left open`},
		"a name that is open":                  {"bannedPrograms: ['*']", `f:1: bannedPrograms[0]: begins with "*", but only the end of a name can be left open`},
		"a broken expression":                  {"bannedCommandPatterns: ['a)|(b']", "f:1: bannedCommandPatterns[0]: not a regular expression (RE2): error parsing regexp: unexpected ): `a)|(b`"},
		"an expression with other letters":     {"bannedCommandPatterns: ['münze']", `f:1: bannedCommandPatterns[0]: contains 'ü', but an expression has only ASCII characters: use bannedCommandStrings for it`},
		"a part without braces":                {"commandParts: {a: [b]}\nbannedCommandPatterns: ['--x=$a']", `f:2: bannedCommandPatterns[0]: "$a" is the end of the text and then a name: write ${a} for the part`},
		"an expression in double quotes":       {`bannedCommandPatterns: ["--foo\b"]`, `f:1: bannedCommandPatterns[0]: contains the control character '\b', as "\b" does in double quotes: write expressions in single quotes`},
		"an action that is a boolean":          {"environment: true", `f:1: environment: "true" is neither "kill" nor "observe"`},
		"a map instead of text":                {"bannedCommandStrings:\n- --foo=bar: x", "f:2: bannedCommandStrings[0]: want a string, found a map; put text with a colon in quotes"},
		"combinations that are no lists":       {"bannedCommandCombinations: [a]", `f:1: bannedCommandCombinations[0]: want a list, found a string ("a")`},
		"an unknown part":                      {"commandParts: {a: [b]}\nbannedCommandPatterns: ['${c}']", `f:2: bannedCommandPatterns[0]: unknown part "c"; known parts here: a, ` + builtinPartNames()},
		"a part without a name":                {"commandParts: {'': [b]}", `f:1: commandParts.: "" is not a name of letters, digits and hyphens`},
		"a combination of one":                 {"bannedCommandCombinations: [[abc]]", `f:1: bannedCommandCombinations[0]: has fewer than two expressions: use bannedCommandPatterns for one`},
		"an unknown action in the environment": {"environment: off", `f:1: environment: "off" is neither "kill" nor "observe"`},
		"null for a list":                      {`{"bannedCommandStrings": null}`, "f:1: bannedCommandStrings: want a list, found null"},
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
		patterns, combinations := []string{}, [][]string{}
		for _, ban := range set.Bans {
			for _, expr := range ban.Parts {
				if _, err := ParseExpression(expr); err != nil {
					t.Errorf("accepted the expression %q: %v", expr, err)
				}
				if len(expr) > MaxTextBytes {
					return // with its parts too long to be written again
				}
			}
			switch ban.Kind {
			case Expression:
				patterns = append(patterns, ban.Parts[0])
			case Combination:
				combinations = append(combinations, ban.Parts)
			}
		}
		again[Expression.Key()], again[Combination.Key()] = patterns, combinations
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
