package bytedfa

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// matching returns the index of the expression that dfas report for a text, -1 for none.
func matching(dfas []*DFA, text []byte) int {
	for _, d := range dfas {
		if i, ok := d.Match(text); ok {
			return i
		}
	}
	return -1
}

func TestGroupNamesOneThatMatches(t *testing.T) {
	exprs := []string{
		`a.*b`, `[ab]*`, `.*k`, `.{3}`, `a.*b`, `.*a.{6}`, `\x{FFFD}+`, `.*\bb`, `(?s).`, `[^a]*`, ``, `.*bk`, `(?s).*b\n.*`, `ka.*`,
	}
	const alphabet = "abk\n\xE2\x84\xAA"
	for _, limits := range []Limits{{1, 4096, 4096}, {2, 4096, 4096}, {3, 1000, 1500}, {14, 1000, 300}} {
		t.Run(fmt.Sprint(limits), func(t *testing.T) {
			dfas, err := Group(exprs, limits)
			if err != nil {
				t.Fatal(err)
			}
			if len(dfas) > limits.DFAs {
				t.Errorf("%d DFAs", len(dfas))
			}
			for _, d := range dfas {
				if len(d.Accept) > max(limits.MaxStates, limits.Each) {
					t.Errorf("%d states", len(d.Accept))
				}
			}
			var res []*regexp.Regexp
			for _, expr := range exprs {
				res = append(res, oracle(t, expr))
			}
			var try func(text []byte)
			try = func(text []byte) {
				i := matching(dfas, text)
				any := slices.ContainsFunc(res, func(re *regexp.Regexp) bool { return re.Match(text) })
				if any != (i >= 0) || any && !res[i].Match(text) {
					t.Fatalf("%q: %d, and one matches: %v", text, i, any)
				}
				if len(text) == 5 {
					return
				}
				for i := range len(alphabet) {
					try(append(text, alphabet[i]))
				}
			}
			try(nil)
		})
	}
}

func TestExpressionsThatEndInAnythingKeepDFAsSmall(t *testing.T) {
	var exprs []string
	for i := range 64 {
		exprs = append(exprs, fmt.Sprintf(`.*%c%cword.*`, 'a'+i%26, 'z'-i/26))
	}
	dfas, err := Group(exprs, Limits{DFAs: 1, Each: 256, MaxStates: 1024})
	if err != nil {
		t.Fatal(err)
	}
	for i := range exprs {
		text := fmt.Appendf(nil, "kp-word %c%cword", 'a'+i%26, 'z'-i/26)
		if got := matching(dfas, text); got != i {
			t.Errorf("%q: %d, want %d", text, got, i)
		}
	}
}

func TestAnErrorNamesTheExpressionThatIsTooLarge(t *testing.T) {
	var exprs []string
	for i := range 40 {
		exprs = append(exprs, fmt.Sprintf(`.*%c%ca.*%c%cb.*`, 'a'+i%26, 'a'+i/26, 'a'+i%26, 'z'-i/26))
	}
	exprs[17] = `.*a longer one.*` + exprs[17]
	var tooLarge *TooLargeError
	if _, err := Group(exprs, Limits{DFAs: 2, Each: 4096, MaxStates: 4096}); !errors.As(err, &tooLarge) || !tooLarge.Together || tooLarge.Index != 17 {
		t.Errorf("error %v", err)
	}
	if _, err := Group([]string{`a`, `.*a.{20}b`}, Limits{DFAs: 2, Each: 4096, MaxStates: 4096}); !errors.As(err, &tooLarge) || tooLarge.Together || tooLarge.Index != 1 {
		t.Errorf("error %v", err)
	}
}

func TestCompileErrors(t *testing.T) {
	tests := []struct{ name, expr, want string }{
		{"a class is open", `[a`, "expression 1: error parsing regexp: missing closing ]: `[a`"},
		{"a group is open", `(a`, "expression 1: error parsing regexp: missing closing ): `(a`"},
		{"a group is closed that is not open", `a)|(b`, "expression 1: error parsing regexp: unexpected ): `a)|(b`"},
		{"a look-ahead is not RE2", `(?=a)`, "expression 1: error parsing regexp: invalid or unsupported Perl syntax: `(?=`"},
		{"a repeat is too large", `(x{1000}){1000}`, "expression 1: error parsing regexp: invalid repeat count: `{1000}`"},
		{"it is not UTF-8", "\xFF", "expression 1: error parsing regexp: invalid UTF-8: `\xFF`"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := oneDFA([]string{`a`, test.expr}, 4096)
			if err == nil || err.Error() != test.want {
				t.Errorf("error %v, want %s", err, test.want)
			}
		})
	}
	t.Run("there are too many", func(t *testing.T) {
		if _, err := Group(make([]string, 65536), Limits{1, 4096, 4096}); err == nil || errors.Is(err, ErrTooLarge) {
			t.Errorf("error %v", err)
		}
	})
}

func TestNoExpressionsAreNoDFA(t *testing.T) {
	if dfas, err := Group(nil, Limits{DFAs: 1, Each: 4096, MaxStates: 4096}); err != nil || len(dfas) != 0 {
		t.Errorf("%d DFAs, %v", len(dfas), err)
	}
}

// A hang would be a hang of the agent's start. A minute is far more than any of these takes.
func TestTooLargeExpressionsAreRefused(t *testing.T) {
	tests := []struct{ name, expr string }{
		{"it depends on a letter twenty bytes before the end", `(a|b)*a(a|b){20}`},
		{"it depends on a rune a thousand before the end", `(?s).*a.{1000}`},
		{"more instructions than states", strings.Repeat(`x{1000}`, 60)},
		{"many optional parts", strings.Repeat(`(?:x{3}|y{5})?`, 1000) + `.*` + strings.Repeat(`(?:x.?){3}`, 1000)},
		{"a long repeat of a large class", `\p{L}{1000}`},
		{"large classes that are all different", `.*` + strings.Repeat(`\pL*é`, 300)},
		{"a text of many different runes", manyRunes(5000)},
		{"many negated classes", allBut(5000)},
	}
	if testing.Short() {
		tests = tests[:3] // the others take long
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			begin := time.Now()
			_, err := oneDFA([]string{test.expr}, 4096)
			if !errors.Is(err, ErrTooLarge) {
				t.Errorf("error %v", err)
			}
			if took := time.Since(begin); took > time.Minute {
				t.Errorf("took %v", took)
			}
		})
	}
}

func manyRunes(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteRune(rune(0x4E00 + i))
	}
	return b.String()
}

// allBut returns an expression for n runes, each of a class that excludes one rune.
func allBut(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "[^%c]", 0x4E00+2*i)
	}
	return b.String()
}

// TestStates shows when a change makes the DFAs of usual patterns larger.
func TestStates(t *testing.T) {
	tests := []struct {
		expr            string
		states, classes int // states with Dead and Start
	}{
		{`/usr/sbin/dnsmasq .*`, 24, 16},
		{`(?:/usr)?/s?bin/dnsmasq(?: .*)?`, 24, 16},
		{`.*allowed\s+cryptnono\.banned\.string1`, 61, 23},
		{`.*(?:apt|apt-get|dpkg|rpm|dnf|yum|pacman)\s+install\s.*`, 75, 26},
		{`.*\bgrep\b.*`, 8, 7},
		{`[0-9a-f]{64} .*`, 67, 4},
		{`(?s).*`, 2, 1},
		{`\p{L}+`, 292, 95},
		{`(?s).*a.{6}`, 758, 12},
	}
	for _, test := range tests {
		t.Run(test.expr, func(t *testing.T) {
			d := compileOne(t, test.expr)
			if states := len(d.Accept); states != test.states || d.Stride != test.classes {
				t.Errorf("%d states, %d classes, want %d, %d", states, d.Stride, test.states, test.classes)
			}
		})
	}
}

func ExampleGroup() {
	limits := Limits{DFAs: 2, Each: 1000, MaxStates: 1000}
	dfas, err := Group([]string{`dnsmasq .*`, `/usr/bin/grep(?: .*)?`}, limits)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, d := range dfas {
		fmt.Println(d.Match([]byte("/usr/bin/grep -r stratum")))
	}
	_, err = Group([]string{`(?s).*a.{100}`}, limits)
	fmt.Println(err)
	// Output:
	// 1 true
	// expression 0 is too large for a byte automaton
}
