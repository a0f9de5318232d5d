package bytedfa

import (
	"regexp"
	"slices"
	"testing"
)

// asRegexp returns the regular expression that a DFA of expr must agree with.
func asRegexp(expr string) (*regexp.Regexp, error) {
	source, _, err := Whole(expr)
	if err != nil {
		return nil, err
	}
	return regexp.Compile(source)
}

func oracle(t testing.TB, expr string) *regexp.Regexp {
	t.Helper()
	re, err := asRegexp(expr)
	if err != nil {
		t.Fatalf("asRegexp(%q): %v", expr, err)
	}
	return re
}

// oneDFA returns the only DFA of expressions, with at most maxStates states.
func oneDFA(exprs []string, maxStates int) (*DFA, error) {
	dfas, err := Group(exprs, Limits{DFAs: 1, Each: maxStates, MaxStates: maxStates})
	if err != nil {
		return nil, err
	}
	return dfas[0], nil
}

func compileOne(t testing.TB, expr string) *DFA {
	t.Helper()
	d, err := oneDFA([]string{expr}, 4096)
	if err != nil {
		t.Fatalf("oneDFA(%q): %v", expr, err)
	}
	return d
}

type matchTest struct {
	name, expr, text string
	want             bool
}

func matchTests() []matchTest {
	return []matchTest{
		{"a literal matches itself", `echo`, "echo", true},
		{"a literal does not match as a part", `echo`, "echo on", false},
		{"a literal does not match its beginning", `echo`, "ech", false},
		{"case is ignored", `Echo`, "eCHO", true},
		{"case counts where the expression says so", `(?-i)Echo`, "echo", false},
		{"case counts in a group only", `(?-i:E)cho`, "ECHO", true},
		{"the kelvin sign is a k", `k`, "\u212A", true},
		{"a k is a kelvin sign", `\x{212A}`, "K", true},
		{"the long s is an s", `STRING`, "\u017Ftring", true},
		{"the kelvin sign is no k where case counts", `(?-i)k`, "\u212A", false},
		{"greek sigmas are one letter", `Σ`, "ς", true},
		{"a class folds case", `[j-l]+`, "jK\u212Al", true},
		{"a negated class folds case", `[^k]`, "\u212A", false},

		{"the empty expression matches the empty text", ``, "", true},
		{"the empty expression matches nothing else", ``, "a", false},
		{"an empty class matches nothing", `[^\x00-\x{10FFFF}]`, "a", false},
		{"an empty class does not match the empty text", `[^\x00-\x{10FFFF}]`, "", false},
		{"an alternative may be empty", `a|`, "", true},
		{"an alternative is a whole one", `a|bc`, "ac", false},
		{"a later alternative that is longer matches", `a|ab`, "ab", true},
		{"a lazy repeat stretches to the end", `a+?`, "aaaa", true},
		{"a lazy repeat leaves room", `a*?b??c`, "aabc", true},
		{"a counted repeat is counted", `a{2,3}`, "aaa", true},
		{"a counted repeat ends", `a{2,3}`, "aaaa", false},
		{"a repeat of nothing ends", `(?:a*)*`, "aaa", true},
		{"a group in a group repeats", `(?:(a|b)c)+`, "acbc", true},
		{"a named group is a group", `(?P<x>a)b`, "ab", true},
		{"a quotation is literal", `\Q.*\E+`, ".**", true},
		{"an open quotation ends with the expression", `\Q.*`, ".*", true},
		{"an open quotation may end in a backslash", `\Q.\`, `.\`, true},

		{"a dot is not a newline", `a.b`, "a\nb", false},
		{"a dot is a newline with s", `(?s)a.b`, "a\nb", true},
		{"a dot is one rune of two bytes", `a.b`, "aéb", true},
		{"a dot is one rune of four bytes", `.`, "\U0001F600", true},
		{"two dots are not one rune", `..`, "é", false},

		{"anchors at both ends change nothing", `^echo$`, "echo", true},
		{"a begin after the begin never matches", `a^b`, "ab", false},
		{"an end before the end never matches", `a$b`, "ab", false},
		{"an end is not before the last newline", `a$`, "a\n", false},
		{"lines begin after a newline with m", `(?m)a\n^b`, "a\nb", true},
		{"lines end before a newline with m", `(?ms)a$.b`, "a\nb", true},
		{"lines do not end within", `(?ms)a$.b`, "a-b", false},
		{"an empty line has both ends", `(?ms)a.^$.b`, "a\n\nb", true},
		{"the text does not end at a newline", `(?ms)a\z.b`, "a\nb", false},
		{"a word boundary is where a word ends", `a\b.b`, "a-b", true},
		{"a word boundary is not within a word", `a\b.b`, "a_b", false},
		{"a word boundary is at the ends of a word", `\ba\b`, "a", true},
		{"a word boundary is not at the ends of other text", `\b-\b`, "-", false},
		{"no word boundary is within a word", `a\Bb`, "ab", true},
		{"no word boundary is in the empty text", `\B`, "", true},
		{"a word boundary is not in the empty text", `\b`, "", false},
		{"letters beyond ASCII are no word to a boundary", `a\bé\B`, "aé", true},
		{"an invalid byte is no word to a boundary", `a\b.\bb`, "a\xE2b", true},
		{"assertions may follow each other", `a\b$(?m)$\z`, "a", true},
		{"assertions may contradict each other", `a\b\B.*`, "a-", false},

		{"a Unicode class has letters of all scripts", `\p{L}+`, "aЖ中\U00020000", true},
		{"a Unicode class has no digits", `\p{L}+`, "a1", false},
		{"a negated Unicode class has digits", `\P{L}+`, "12", true},
		{"a digit is ASCII", `\d`, "٣", false},
		{"the last rune is a rune", `\x{10FFFF}`, "\U0010FFFF", true},

		{"an invalid byte is a dot", `a.b`, "a\xFFb", true},
		{"an invalid byte is U+FFFD", `\x{FFFD}`, "\xFF", true},
		{"a valid U+FFFD is U+FFFD", `\x{FFFD}`, "\uFFFD", true},
		{"a valid U+FFFD is one rune", `\x{FFFD}{3}`, "\uFFFD", false},
		{"an invalid byte is in a negated class", `[^a]`, "\x80", true},
		{"an invalid byte is not in a negated class with U+FFFD", `[^\x{FFFD}]`, "\x80", false},
		{"an invalid byte is no Latin-1 letter", `é`, "\xE9", false},
		{"a surrogate is three invalid bytes", `\x{FFFD}{3}`, "\xED\xA0\x80", true},
		{"a surrogate is not one rune", `.`, "\xED\xA0\x80", false},
		{"a surrogate class matches no text", `[\x{D800}-\x{DFFF}]`, "\xED\xA0\x80", false},
		{"an overlong slash is two invalid bytes", `..`, "\xC0\xAF", true},
		{"an overlong slash is no slash", `/`, "\xC0\xAF", false},
		{"an overlong form of three bytes is three", `\x{FFFD}{3}`, "\xE0\x80\xAF", true},
		{"an overlong form of four bytes is four", `\x{FFFD}{4}`, "\xF0\x80\x80\xAF", true},
		{"a rune beyond the last is four invalid bytes", `\x{FFFD}{4}`, "\xF4\x90\x80\x80", true},
		{"a first byte that never is one is invalid", `.`, "\xF8", true},
		{"a cut sequence of four bytes is three", `a...`, "a\xF0\x9F\x98", true},
		{"a cut sequence is not one rune", `a.`, "a\xF0\x9F\x98", false},
		{"a cut sequence is broken by a letter", `..b`, "\xE2\x84b", true},
		{"a cut sequence is broken by a first byte", `..é`, "\xE2\x84é", true},
		{"a cut sequence is broken by another", `\x{FFFD}+k`, "\xE2\x84\xE2\x84\xF0\u212A", true},
		{"a complete sequence is never invalid", `\x{FFFD}+`, "\xE2\x84\xAA", false},
		{"the decoder does not begin in the middle", `\x{FFFD}.`, "\xE2\xC3\xA9", true},
		{"a NUL is a rune", `a\x00b`, "a\x00b", true},

		{"an allow pattern takes what is between", `.*allowed\s+cryptnono\.banned\.string1`,
			"/bin/echo it is Allowed \t cryptnono.banned.string1", true},
		{"an allow pattern takes no more at the end", `.*allowed\s+cryptnono\.banned\.string1`,
			"/bin/echo allowed cryptnono.banned.string1 2", false},
		{"an allow pattern wants all of it", `.*allowed\s+cryptnono\.banned\.string1`,
			"/bin/echo disallowed: cryptnono.banned.string1", false},
	}
}

func TestMatch(t *testing.T) {
	for _, test := range matchTests() {
		t.Run(test.name, func(t *testing.T) {
			re := oracle(t, test.expr)
			if re.MatchString(test.text) != test.want {
				t.Errorf("regexp: %q matches %q: %t", test.expr, test.text, !test.want)
			}
			if _, got := compileOne(t, test.expr).Match([]byte(test.text)); got != test.want {
				t.Errorf("DFA: %q matches %q: %t", test.expr, test.text, got)
			}
		})
	}
}

// TestAllShortTexts compares on all short texts of an alphabet of difficult bytes: parts of
// é, K (the kelvin sign), 😀, surrogates and U+FFFD, overlong forms, a word character, a
// newline.
func TestAllShortTexts(t *testing.T) {
	const alphabet = "aK\n\xAA\xC0\xC3\xE2\x84\xED\xA0\x80\xEF\xBF\xBD\xF0\x9F\x98\xF4\xFF"
	tests := []struct {
		expr   string
		length int
	}{
		{`.*`, 4}, {`(?s)..`, 4}, {`k+`, 4}, {`[^k]*`, 4}, {`(?-i:k)|\x{FFFD}.`, 4},
		{`.?\x{FFFD}+.?`, 4}, {`[^\x{FFFD}]+`, 4}, {`\p{L}+`, 4}, {`\P{Lu}*\n?`, 4},
		{`\b.*\b`, 4}, {`(?s).\B.*`, 4}, {`(?s).+\b.+\b.+`, 4}, {`(?ms)(?:^.+$\n?)*`, 4},
		{`(?ms).*^a.*$.*`, 4}, {`(?:.é|.\x{F0000}|[\x{2100}-\x{212F}]).*`, 4},
		{`[\x{D000}-\x{E000}]|[\x{ED}\x{A0}\x{80}]*`, 4},
		{`(?s).*a..`, 5}, {`(?s).*\x{FFFD}..`, 5}, {`(?s).*?(?:\b.|\n)\x{FFFD}{2,3}`, 5},
	}
	for _, test := range tests {
		t.Run(test.expr, func(t *testing.T) {
			t.Parallel()
			d := compileOne(t, test.expr)
			re := oracle(t, test.expr)
			length := test.length
			if testing.Short() {
				length-- // an eighteenth of the texts
			}
			var try func(text []byte)
			try = func(text []byte) {
				check(t, d, re, text)
				if len(text) == length {
					return
				}
				for i := range len(alphabet) {
					try(append(text, alphabet[i]))
				}
			}
			try(make([]byte, 0, length))
		})
	}
}

func TestEveryTransition(t *testing.T) {
	for _, test := range matchTests() {
		checkTransitions(t, compileOne(t, test.expr), oracle(t, test.expr))
	}
}

// checkTransitions compares, for each state and each byte class, the text of: the shortest
// text that leads to that state, a byte of that class, and the shortest text from there to a
// match, if there is one.
func checkTransitions(t *testing.T, d *DFA, re *regexp.Regexp) {
	t.Helper()
	var bytes []byte // one of each class
	for c := range d.Stride {
		for b := range d.Classes {
			if int(d.Classes[b]) == c {
				bytes = append(bytes, byte(b))
				break
			}
		}
	}
	if len(bytes) != d.Stride {
		t.Fatalf("%v: %d of %d byte classes are used", re, len(bytes), d.Stride)
	}
	states := len(d.Accept)
	toState := make([][]byte, states) // nil: not reachable
	toState[Start] = []byte{}
	for queue := []uint16{Start}; len(queue) > 0; queue = queue[1:] {
		s := queue[0]
		for _, b := range bytes {
			if next := d.Step(s, b); toState[next] == nil {
				toState[next] = append(slices.Clip(toState[s]), b)
				queue = append(queue, next)
			}
		}
	}
	toMatch := make([][]byte, states) // nil: no match
	for s := range toMatch {
		if d.Accept[s] != 0 {
			toMatch[s] = []byte{}
		}
	}
	for changed := true; changed; {
		changed = false
		for s := range toMatch {
			for _, b := range bytes {
				if rest := toMatch[d.Step(uint16(s), b)]; toMatch[s] == nil && rest != nil {
					toMatch[s] = append([]byte{b}, rest...)
					changed = true
				}
			}
		}
	}
	for s, path := range toState {
		if s > Start && path == nil {
			t.Fatalf("%v: no text leads to state %d", re, s)
		}
		if s > Start && toMatch[s] == nil {
			t.Fatalf("%v: state %d is dead", re, s)
		}
		for _, b := range bytes {
			if path == nil { // Dead, where all texts match
				continue
			}
			text := append(slices.Clip(path), b)
			check(t, d, re, text)
			if rest := toMatch[d.Step(uint16(s), b)]; len(rest) > 0 {
				check(t, d, re, append(text, rest...))
			}
		}
	}
}

func check(t *testing.T, d *DFA, re *regexp.Regexp, text []byte) {
	t.Helper()
	if _, got := d.Match(text); got != re.Match(text) {
		t.Fatalf("%v: DFA matches %q: %t", re, text, got)
	}
}
