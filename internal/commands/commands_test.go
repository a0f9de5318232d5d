package commands

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/rules"
)

func TestEachFormIsParsed(t *testing.T) {
	for name, c := range map[string]struct{ line, path, area string }{
		"a plain line":                    {"/bin/x -o pool", "/bin/x", "/bin/x\x00-o pool"},
		"only a program":                  {"xmrig", "xmrig", "xmrig"},
		"spaces around":                   {" \t/bin/x  -o \r", "/bin/x", "/bin/x\x00 -o"},
		"a tab after the program":         {"/bin/x\t-o", "/bin/x", "/bin/x\x00-o"},
		"quotes are text":                 {`/bin/sh -c "a b"`, "/bin/sh", "/bin/sh\x00-c\x00\"a b\""},
		"a file of /proc":                 {"my x\x00-o\x00pool\x00", "my x", "my x\x00-o\x00pool\x00"},
		"the command [":                   {"[ -f /x ]", "[", "[\x00-f /x ]"},
		"a kernel thread":                 {"[kworker/0:1]", "[kworker/0:1]", "[kworker/0:1]"},
		"an array":                        {`["/bin/x", "a b", ""]`, "/bin/x", "/bin/x\x00a b\x00\x00"},
		"an array with a space before it": {`[ "\u00e9" ]`, "é", "é\x00"},
		"argv":                            {`{"want":"kill","argv":["a","b"]}`, "a", "a\x00b\x00"},
		"argv and a program":              {`{"program":"/bin/x","argv":["a","b"]}`, "/bin/x", "a\x00b\x00"},
		"a program without arguments":     {`{"program":"/bin/x","argv":[]}`, "/bin/x", ""},
		"a line of the log":               {`{"msg":"killed a process","program":"/bin/x","cmdline":"my\\x20x -o \\\\n\\u202e"}`, "/bin/x", "my x\x00-o \\n\u202e\x00"},
		"a cmdline only":                  {`{"cmdline":"x -o a"}`, "x", "x\x00-o a\x00"},
		"an empty argument at the end":    {`{"program":"/bin/x","cmdline":"x "}`, "/bin/x", "x\x00\x00"},
		"the text of a shell":             {`{"cmdline":"/bin/bash -eu -c echo a; b x"}`, "/bin/bash", "/bin/bash\x00-eu\x00-c\x00echo a; b x\x00"},
		"an argv[0] that is empty":        {`{"program":"/bin/x","cmdline":" -o"}`, "/bin/x", "\x00-o\x00"},
		"rewritten arguments":             {`{"program":"/bin/x","cmdline":"xmrig","rewritten":true}`, "/bin/x", ""},
	} {
		got, err := Parse([]byte(c.line))
		if err != nil || string(got.Path) != c.path || string(got.Area) != c.area || got.Incomplete {
			t.Errorf("%s: got %q and %q, %v", name, got.Path, got.Area, err)
		}
	}
}

func TestWhatTheLogLacksIsKnown(t *testing.T) {
	for _, line := range []string{
		`{"program":"/bin/x","cmdline":"x a…(+5 bytes)"}`, `{"program":"/bin/x","cmdline":"x a…"}`,
		`{"program":"/bin/x…(+5 bytes)","cmdline":"x a"}`, `{"program":"/bin/x…","cmdline":"x","rewritten":true}`,
		`{"program":"/bin/x","cmdline":"x --password=***"}`,
	} {
		if c, err := Parse([]byte(line)); err != nil || !c.Incomplete {
			t.Errorf("%s: got %+v, %v", line, c, err)
		}
	}
}

func TestLinesWithoutACommand(t *testing.T) {
	for line, want := range map[string]string{
		"":      "no command",
		" \t\r": "no command",
		`{"level":"INFO","msg":"ready","bans":7}`:                              "no command",
		`{"action":"killed","msg":"equal verdicts suppressed","suppressed":9}`: "no command",
		"{}":                                "a JSON object without argv or cmdline",
		`{"argv":null}`:                     "a JSON object without argv or cmdline",
		`{"argv":["a"`:                      "not valid JSON: unexpected end of JSON input",
		`{"argv":["a"]} x`:                  "not valid JSON: invalid character 'x' after top-level value",
		`{"argv":"a b"}`:                    "argv: a string is not what a command has there",
		`{"argv":["a",1]}`:                  "argv: a number is not what a command has there",
		`["a",1]`:                           "argv: a number is not what a command has there",
		`["a",null]`:                        "argv[1] is null",
		`{"argv":["a","b\u0000c"]}`:         "argv[1] contains a NUL",
		`{"program":"\u0000","argv":["a"]}`: "program contains a NUL",
		"[]":                                "the name of the program is empty",
		`["","a"]`:                          "the name of the program is empty",
		"\x00a":                             "the name of the program is empty",
		`{"cmdline":"a \\n"}`:               `cmdline: "\\n" is not an escape of the log: \\, \xHH, \uHHHH or \UHHHHHHHH`,
		`{"program":"\\q","cmdline":"a"}`:   `program: "\\q" is not an escape of the log: \\, \xHH, \uHHHH or \UHHHHHHHH`,
	} {
		c, err := Parse([]byte(line))
		if err == nil || err.Error() != want || errors.Is(err, ErrNone) != (want == "no command") {
			t.Errorf("%s: got %+v, %v, want %s", line, c, err, want)
		}
	}
}

func TestABadLineDoesNotHideTheOthers(t *testing.T) {
	long := strings.Repeat("x", MaxLine+1)
	text := "a 1\n\n{\nb 2\n" + long + "\nc 3\r\n" + long[1:] + "\n" + long + long + "\nd 4"
	var got []string
	err := Read(iotest.HalfReader(strings.NewReader(text)), func(number int, c Command, err error) error {
		got = append(got, fmt.Sprintf("%d %.9q %v", number, c.Area, err))
		return nil
	})
	want := []string{
		`1 "a\x001" <nil>`, `2 "" no command`, `3 "" not valid JSON: unexpected end of JSON input`, `4 "b\x002" <nil>`,
		`5 "" the line has more than 8 MiB`, `6 "c\x003" <nil>`, `7 "xxxxxxxxx" <nil>`, `8 "" the line has more than 8 MiB`, `9 "d\x004" <nil>`,
	}
	if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %v and\n%s", err, strings.Join(got, "\n"))
	}
	broken := errors.New("broken")
	nothing := func(int, Command, error) error { return nil }
	if err := Read(iotest.ErrReader(broken), nothing); !errors.Is(err, broken) {
		t.Errorf("an input that fails: %v", err)
	}
	if err := Read(strings.NewReader("a\nb"), func(int, Command, error) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("a visit that fails: %v", err)
	}
}

// FuzzLog checks that a command has the verdict of its process if it is parsed from the line that
// the agent logs.
func FuzzLog(f *testing.F) {
	f.Add("/bin/a b", []byte("my ban\x00-o ban\x00\x1b\xff…\\x20\x00"))
	f.Add("/bin/ban", []byte("\x00ban all\x00"))
	f.Add("/usr/bin/all", []byte("x\x00ban"))
	f.Add("\x1b", []byte("ba\x00\x00"))
	m, err := match.Compile(rules.Set{
		Bans: []rules.Ban{
			{Kind: rules.Program, Text: "ban", Action: rules.Kill}, {Kind: rules.Word, Text: "b a", Action: rules.Kill},
			{Kind: rules.Substring, Text: "ba", Action: rules.Observe}, {Kind: rules.Word, Text: "…", Action: rules.Observe},
		},
		Allowed: []rules.Pattern{{Expr: `(?s).*/a .*a`}, {Expr: `(?s).*\x1b.`}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string, area []byte) {
		path = strings.ReplaceAll(path, "\x00", "")
		var log bytes.Buffer
		report.New(slog.New(slog.NewJSONHandler(&log, nil)), "", nil).Report(report.Verdict{
			Action: report.Killed, Program: report.Program([]byte(path)), Cmdline: report.Cmdline(area, 0),
		})
		c, err := Parse(log.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if got, want := m.Judge(c.Path, c.Area), m.Judge([]byte(path), area); got != want && !c.Incomplete {
			t.Errorf("%q %q is read as %q %q, with the verdict %+v instead of %+v", path, area, c.Path, c.Area, got, want)
		}
	})
}

// FuzzParse checks that a line is parsed or refused, and that what is parsed is a command.
func FuzzParse(f *testing.F) {
	for _, line := range []string{"/bin/x -o", `["a","b"]`, `{"argv":["a"]}`, `{"program":"a","cmdline":"a\\x20b c…(+5 bytes)"}`, "{", "a\x00b"} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		before := bytes.Clone(line)
		c, err := Parse(line)
		if !bytes.Equal(line, before) {
			t.Error("the line is changed")
		}
		var argv []string
		if err == nil && json.Unmarshal(line, &argv) == nil && bytes.Count(c.Area, []byte{0}) != len(argv) {
			t.Errorf("%q is parsed as %q", line, c.Area)
		}
	})
}
