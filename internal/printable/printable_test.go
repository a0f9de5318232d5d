package printable

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestPrintable(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"an empty text":                   {"", ""},
		"arguments are separated":         {"a\x00b c\x00d\x00", "a b c d"},
		"empty arguments are visible":     {"a\x00\x00b\x00\x00", "a  b "},
		"letters of all scripts stay":     {"naïve Ωμέγα 漢字 🙂", "naïve Ωμέγα 漢字 🙂"},
		"a newline cannot fake a line":    {"a\nb\r\tc", `a\x0ab\x0d\x09c`},
		"escape codes cannot set colours": {"\x1b[31mred\u009b0m\x7f", `\x1b[31mred\u009b0m\x7f`},
		"separators cannot fake a line":   {"a\u2028b\u2029c\u0085d", `a\u2028b\u2029c\u0085d`},
		"bidi marks cannot change order":  {"a\u202eb\u2066c\u200f", `a\u202eb\u2066c\u200f`},
		"invisible characters are shown":  {"a\u200bb\u00adc\ufeffd\u00a0e\U000e0041", `a\u200bb\u00adc\ufeffd\u00a0e\U000e0041`},
		"bytes that are not UTF-8":        {"\xff\xc3(\xed\xa0\x80", `\xff\xc3(\xed\xa0\x80`},
		"a replacement character stays":   {"\ufffd", "\ufffd"},
		"an escape cannot be faked":       {`\x1b`, `\\x1b`},
		"a backslash before a newline":    {"\\\n", `\\\x0a`},
		"a truncation cannot be faked":    {"a…(+5 bytes)", `a\u2026(+5 bytes)`},
	} {
		if got := Text([]byte(c.in), 1000); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestPrintableIsTruncatedBetweenCharacters(t *testing.T) {
	for _, c := range []struct {
		in    string
		limit int
		want  string
	}{
		{"abcdef", 6, "abcdef"},
		{"abcdef\x00", 6, "abcdef"},
		{"abcdef", 5, "abcde…(+1 bytes)"},
		{"ab漢字", 4, "ab…(+6 bytes)"},
		{"ab漢字", 5, "ab漢…(+3 bytes)"},
		{"ab\x1bc", 5, "ab…(+2 bytes)"},
		{"ab\x1bc", 6, `ab\x1b…(+1 bytes)`},
		{`ab\`, 3, "ab…(+1 bytes)"},
		{"ab", 0, "…(+2 bytes)"},
		{"ab", -1, "…(+2 bytes)"},
		{strings.Repeat("x", 6<<20), 3, fmt.Sprintf("xxx…(+%d bytes)", 6<<20-3)},
	} {
		if got := Text([]byte(c.in), c.limit); got != c.want {
			t.Errorf("%.9q to %d: got %q, want %q", c.in, c.limit, got, c.want)
		}
	}
}

func TestAShortTextIsTruncatedBetweenCharacters(t *testing.T) {
	for _, c := range []struct {
		in    string
		limit int
		want  string
	}{
		{"abcdef", 6, "abcdef"},
		{"abcdefg", 6, "abc…"},
		{"a漢字字", 8, "a漢…"},
		{"a漢字字", 6, "a…"},
		{strings.Repeat("\x80", 20), 10, "\x80\x80\x80…"},
		{"abcd", 2, "…"},
	} {
		if got := Short(c.in, c.limit); got != c.want {
			t.Errorf("%q to %d: got %q, want %q", c.in, c.limit, got, c.want)
		}
	}
}

func TestVisibleDoesNotChangePrintableText(t *testing.T) {
	for in, want := range map[string]string{
		"querying docker.sock: status 500 \x1b[31m\u009b\u202e\xff": `querying docker.sock: status 500 \x1b[31m\u009b\u202e\xff`,
		`querying "a\x1b"`: `querying "a\x1b"`,
		`\\x1b \`:          `\\x1b \`,
		"漢字 \ufffd":        "漢字 \ufffd",
		"a\nb":             "a\nb",
		"a\r\x00b":         `a\x0d b`,
		"":                 "",
	} {
		if got := Visible(in, 100); got != want || Visible(got, 100) != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	if got := Visible("abc\x1bdef", 5); got != "abc…(+4 bytes)" {
		t.Errorf("got %q", got)
	}
	if got := Visible("abcdef", 5); got != "abcde…(+1 bytes)" {
		t.Errorf("got %q", got)
	}
}

func BenchmarkPrintable(b *testing.B) {
	for name, text := range map[string]string{
		"words":    strings.Repeat("/usr/bin/python3 -c x\x00", 186),
		"escapes":  strings.Repeat("\x1b", 4096),
		"letters":  strings.Repeat("漢字\x00", 585),
		"not UTF8": strings.Repeat("\xff", 4096),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				Text([]byte(text), 4096)
			}
		})
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add([]byte("a\x00b\x1b\xff\u202e\\"), 5)
	f.Fuzz(func(t *testing.T, b []byte, limit int) {
		text := Text(b, limit)
		if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q", text)
		}
		shown, _, cut := strings.Cut(text, "…")
		if len(shown) > max(limit, 0) {
			t.Errorf("%d bytes shown of %d allowed", len(shown), limit)
		}
		got, gotCut, err := Parse(text)
		want := bytes.ReplaceAll(bytes.TrimSuffix(b, []byte{0}), []byte{0}, []byte{' '})
		if err != nil || gotCut != cut || !bytes.HasPrefix(want, got) || !cut && len(got) != len(want) {
			t.Errorf("%q is read as %q, %v, %v, want %q", text, got, gotCut, err, want)
		}
	})
}

func TestTheEndOfArgv0IsKnown(t *testing.T) {
	for _, c := range []struct {
		area           string
		omitted, limit int
		want, parsed   string
		cut            bool
	}{
		{"sh\x00-c\x00a b\x00", 0, 99, "sh -c a b", "sh\x00-c a b\x00", false},
		{"my shell\x00-c\x00a b\x00", 0, 99, `my\x20shell -c a b`, "my shell\x00-c a b\x00", false},
		{" a  b \x00 \x00", 0, 99, `\x20a\x20\x20b\x20  `, " a  b \x00 \x00", false},
		{"\x00a b\x00", 0, 99, " a b", "\x00a b\x00", false},
		{"one title", 0, 99, `one\x20title`, "one title", false},
		{"\\\x00é\xff\u202e…\x00", 0, 99, `\\ é\xff\u202e\u2026`, "\\\x00é\xff\u202e…\x00", false},
		{"sh\x00-c\x00", 3, 99, "sh -c…(+3 bytes)", "sh\x00-c", true},
		{"sh\x00-c\x00abc", 3, 7, "sh -c a…(+5 bytes)", "sh\x00-c a", true},
		{"a b c d\x00", 0, 9, `a\x20b…(+4 bytes)`, "a b", true},
		{"", 0, 9, "", "", false},
	} {
		got := Args([]byte(c.area), c.omitted, c.limit)
		area, cut, err := ParseArgs(got)
		if got != c.want || string(area) != c.parsed || cut != c.cut || err != nil {
			t.Errorf("%q: got %q, and back %q, %v, %v", c.area, got, area, cut, err)
		}
	}
}

func TestTextCutInAnEscapeIsParsed(t *testing.T) {
	for text, want := range map[string]string{
		`ab…`: "ab", `ab\…`: "ab", `ab\x…`: "ab", `ab\x1…`: "ab", `ab\x1b…`: "ab\x1b", `ab\u…`: "ab", `ab\u202…`: "ab",
		`ab\U000e004…`: "ab", "ab…(+5 bytes)…": "ab", "ab…(+5 bytes)…(+7 bytes)": "ab", "…": "",
	} {
		if b, cut, err := Parse(text); string(b) != want || !cut || err != nil {
			t.Errorf("%s: got %q, %v, %v", text, b, cut, err)
		}
	}
	if b, cut, err := Parse("a…b"); string(b) != "a…b" || cut || err != nil {
		t.Errorf("an ellipsis of an older log: got %q, %v, %v", b, cut, err)
	}
}

func TestOtherEscapesAreErrors(t *testing.T) {
	for _, text := range []string{`a\`, `\n`, `\x1`, `\xg0`, `\x+1`, `\u12`, `\ud800`, `\U00110000`, `\Uffffffff`, `\q…`, `\ …`, `\ a`} {
		if b, _, err := ParseArgs(text); err == nil {
			t.Errorf("%s: parsed as %q", text, b)
		}
	}
}

// FuzzArgs checks that a rule sees the same text in arguments and in those that are parsed from
// the log.
func FuzzArgs(f *testing.F) {
	f.Add([]byte("a b\x00c d\x00\x1b\\\xff…"))
	f.Fuzz(func(t *testing.T, area []byte) {
		got, cut, err := ParseArgs(Args(area, 0, 1<<20))
		argv0, rest, _ := bytes.Cut(bytes.TrimSuffix(area, []byte{0}), []byte{0})
		gotArgv0, gotRest, _ := bytes.Cut(bytes.TrimSuffix(got, []byte{0}), []byte{0})
		if err != nil || cut || !bytes.Equal(argv0, gotArgv0) || !bytes.Equal(bytes.ReplaceAll(rest, []byte{0}, []byte{' '}), gotRest) {
			t.Errorf("%q is read as %q, %v, %v", area, got, cut, err)
		}
	})
}

// FuzzParse checks that any text is parsed or refused.
func FuzzParse(f *testing.F) {
	f.Add(`a\x1b\u202e\U000e0041\\ b…(+5 bytes)`)
	f.Fuzz(func(t *testing.T, text string) {
		if b, _, err := ParseArgs(text); err == nil && len(b) > len(text)+1 {
			t.Errorf("%q is read as %q", text, b)
		}
	})
}
