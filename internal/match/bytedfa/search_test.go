package bytedfa

import (
	"errors"
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

func parseAll(t testing.TB, exprs []string) (parsed []*syntax.Regexp) {
	t.Helper()
	for _, expr := range exprs {
		re, err := syntax.Parse(expr, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, re)
	}
	return parsed
}

// latin1 returns a text in which each byte is a character.
func latin1(text []byte) string {
	runes := make([]rune, len(text))
	for i, b := range text {
		runes[i] = rune(b)
	}
	return string(runes)
}

func searchAll(searches []*Search, text []byte) (found Set) {
	for _, s := range searches {
		s.Match(text, &found)
	}
	return found
}

func TestASearchFindsExpressionsAnywhere(t *testing.T) {
	exprs := []string{`\b4[0-9a-f]{6}\b`, `(?i) --algo[= ](?:rx/|gr(?: |$))`, `^/bin/`, `end\z`, `q.z`, `(?i)mask`, `\xe4`}
	searches, err := GroupSearch(parseAll(t, exprs), Limits{DFAs: 1, Each: 1000, MaxStates: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]int{
		"":                         nil,
		"x 4abcdef":                {0},
		"x 4abcdef.worker":         {0},
		"x 4abcdef0":               nil,
		"x 44abcdef":               nil,
		"x 4abcde4abcdef -4abcdef": {0},
		"/bin/x --ALGO=GR":         {1, 2},
		"x --algo gr --algo rx/0":  {1},
		"x --algo grx":             nil,
		" /bin/":                   nil,
		"the end":                  {3},
		"the end ":                 nil,
		"qXz q\nz":                 {4},
		"q\nz q\xffz":              {4},
		"maſK MAS\u212A":           nil, // bytes of UTF-8 are characters of their own
		"\xe4":                     {6},
	} {
		var set Set
		for _, i := range want {
			set.Add(i)
		}
		if got := searchAll(searches, []byte(text)); got != set {
			t.Errorf("%q: got %b, want %b", text, got, set)
		}
	}
}

// TestRandomSearches compares searches with package regexp.
func TestRandomSearches(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	compared, tries := 0, testutil.Thorough(400)
	for range tries {
		var exprs []string
		for range 1 + r.IntN(5) {
			exprs = append(exprs, randomExpr(r, 3))
		}
		searches, err := GroupSearch(parseAll(t, exprs), Limits{DFAs: 2, Each: 100, MaxStates: 300})
		if errors.Is(err, ErrTooLarge) {
			continue
		}
		if err != nil {
			t.Fatalf("%q: %v", exprs, err)
		}
		compared++
		letters := []byte("aakKK__-\n é\xff\x80\xe2\x84\xaa")
		for range 50 {
			text := make([]byte, r.IntN(12))
			for i := range text {
				text[i] = letters[r.IntN(len(letters))]
			}
			var want Set
			for i, expr := range exprs {
				if regexp.MustCompile(expr).MatchString(latin1(text)) {
					want.Add(i)
				}
			}
			if got := searchAll(searches, text); got != want {
				t.Fatalf("%q in %q: got %b, want %b", exprs, text, got[0], want[0])
			}
		}
	}
	if compared < tries/2 {
		t.Errorf("only %d of %d are compared", compared, tries)
	}
}

func TestASearchThatIsTooLargeIsNamed(t *testing.T) {
	fits := parseAll(t, []string{`abc`, `def`, `.*a.{12}b`})
	_, err := GroupSearch(fits, Limits{DFAs: 4, Each: 100, MaxStates: 100})
	var tooLarge *TooLargeError
	if !errors.As(err, &tooLarge) || tooLarge.Index != 2 || tooLarge.Together {
		t.Errorf("got %v, want expression 2", err)
	}
	_, err = GroupSearch(parseAll(t, []string{`abcdefgh`, `ijklmnop`, `qrstuvwx`}), Limits{DFAs: 2, Each: 14, MaxStates: 14})
	if !errors.As(err, &tooLarge) || !tooLarge.Together {
		t.Errorf("got %v, want all together", err)
	}
}

// A hang would be a hang of the agent's start, as in TestTooLargeExpressionsAreRefused.
func TestTooLargeSearchesAreRefused(t *testing.T) {
	tests := []struct{ name, expr string }{
		{"it depends on a letter twenty bytes before the end", `a[ab]{20}z`},
		{"it depends on words far before the end", `\ba(?:\b.|\B.){200}\bz`},
		{"more instructions than states", strings.Repeat(`x{1000}`, 100)},
		{"many optional parts", strings.Repeat(`(?:x{3}|y{5})?`, 1000) + `.*` + strings.Repeat(`(?:x.?){3}`, 1000)},
	}
	if testing.Short() {
		tests = tests[:3] // the last one takes long
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			begin := time.Now()
			_, err := GroupSearch(parseAll(t, []string{test.expr}), Limits{DFAs: 4, Each: 1 << 13, MaxStates: 1 << 14})
			if !errors.Is(err, ErrTooLarge) {
				t.Errorf("error %v", err)
			}
			if took := time.Since(begin); took > time.Minute {
				t.Errorf("took %v", took)
			}
		})
	}
}
