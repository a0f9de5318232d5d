package strict

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// settings are read as package config reads them.
type settings struct {
	Name  string
	On    bool
	Every time.Duration
	List  []string
	Inner string
}

func (s *settings) decode(root Value) {
	root.Map(map[string]func(Value){
		"name":  func(v Value) { v.Text(&s.Name) },
		"on":    func(v Value) { v.Bool(&s.On) },
		"every": func(v Value) { v.Duration(&s.Every) },
		"list": func(v Value) {
			v.List(func(_ int, v Value) {
				var text string
				v.Text(&text)
				s.List = append(s.List, text)
			})
		},
		"inner": func(v Value) {
			v.Map(map[string]func(Value){"name": func(v Value) { v.Text(&s.Inner) }})
		},
	})
}

func TestAFileIsReadAs(t *testing.T) {
	full := settings{Name: "a", On: true, Every: 90 * time.Second, List: []string{"x", "1"}, Inner: "b"}
	for name, test := range map[string]struct {
		content string
		want    settings
	}{
		"YAML": {"name: a\non: true\nevery: 90s\nlist: [x, \"1\"]\ninner:\n  name: b\n", full},
		"JSON": {`{"name":"a","on":true,"every":"90s","list":["x","1"],"inner":{"name":"b"}}`, full},
		"JSON indented with tabs, with blank lines before it": {
			"\n\n{\n\t\"name\":\t\"a\",\n\t\"on\": true, \"every\": \"1m30s\",\n\t\"list\": [\"x\", \"1\"],\n\t\"inner\": {\"name\": \"b\"}\n}\n", full},
		"JSON with escapes":        {`{"name":"\/\t\u00e9\ud83d\ude00\u0000"}`, settings{Name: "/\té😀\x00"}},
		"YAML with escapes":        {`name: "/\t\u00e9\U0001f600\0"`, settings{Name: "/\té😀\x00"}},
		"other words for booleans": {"name: yes\non: TRUE\n", settings{Name: "yes", On: true}},
		"a byte order mark and line ends of DOS": {
			"\uFEFFname: a\r\nlist:\r\n- b\r\n", settings{Name: "a", List: []string{"b"}}},
		"an empty map":                {"{}", settings{}},
		"a duration of nothing":       {"every: 0", settings{}},
		"a document with its markers": {"---\nname: a\n...\n", settings{Name: "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got settings
			if err := Parse("f", []byte(test.content), got.decode); err != nil {
				t.Fatal(err)
			}
			if got.Name != test.want.Name || got.On != test.want.On || got.Every != test.want.Every ||
				got.Inner != test.want.Inner || strings.Join(got.List, ",") != strings.Join(test.want.List, ",") {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestEachProblemIsReportedWithItsPlace(t *testing.T) {
	deep := strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth)
	for name, test := range map[string]struct{ content, want string }{
		"an empty file":               {"", "f: empty file; write {} if this is intended"},
		"a blank file":                {" \n\t\n", "f: empty file; write {} if this is intended"},
		"only comments":               {"# name: a\n", "f: only comments; write {} if this is intended"},
		"an empty document":           {"---\n", "f:2: want a map, found null"},
		"a list of nothing":           {"[]", "f:1: want a map, found a list"},
		"a text":                      {"name", `f:1: want a map, found a string ("name")`},
		"bytes that are not UTF-8":    {"name: a\nlist: [\xff]", "f:2: not valid UTF-8"},
		"a control character":         {"name: a\nlist: [\x01]", "f:2: control character U+0001"},
		"an unpaired surrogate":       {"{\n\"name\": \"\\ud800\"}", "f:2: name: contains U+FFFD, the replacement for an invalid character"},
		"an unknown key":              {"name: a\nnaem: b", `f:2: unknown key "naem"; known keys: every, inner, list, name, on`},
		"an unknown key further in":   {"inner:\n  naem: b", `f:2: inner: unknown key "naem"; known keys: name`},
		"a duplicate key in YAML":     {"name: a\non: true\nname: b", `f:3: duplicate key "name", first on line 1`},
		"a duplicate key in JSON":     {"{\"name\": \"a\",\n\"n\\u0061me\": \"b\"}", `f:2: duplicate key "name", first on line 1`},
		"a key that is not text":      {"1: a", "f:1: want a string, found a number (1); put it in quotes"},
		"a key that is a list":        {"? [a]\n: b", "f:1: want a string, found a list"},
		"a number for a text":         {"list:\n- a\n- 12", "f:3: list[1]: want a string, found a number (12); put it in quotes"},
		"a bool for a text":           {`{"name": true}`, "f:1: name: want a string, found a boolean (true); put it in quotes"},
		"a date for a text":           {"name: 2026-11-01", "f:1: name: want a string, found a date (2026-11-01); put it in quotes"},
		"nothing for a text":          {"inner:\n  name:", "f:2: inner.name: want a string, found null"},
		"null for a list":             {`{"list": null}`, "f:1: list: want a list, found null"},
		"a text for a list":           {"list: a", `f:1: list: want a list, found a string ("a")`},
		"a list for a map":            {"inner: [a]", "f:1: inner: want a map, found a list"},
		"a word for a bool":           {"on: yes", `f:1: on: want a boolean, found a string ("yes"); write true or false`},
		"a number for a bool":         {"on: 1", "f:1: on: want a boolean, found a number (1); write true or false"},
		"a duration without its unit": {"every: 600", `f:1: every: "600" is not a duration such as 90s, 10m or 1h30m`},
		"an odd duration":             {"every: often", `f:1: every: "often" is not a duration such as 90s, 10m or 1h30m`},
		"a list for a duration":       {"every: []", "f:1: every: want a string, found a list"},
		"an alias and its anchor": {"name: &a b\nlist:\n- *a",
			"f:1: anchor &a: remove it, or put text in quotes\n" +
				"f:3: alias *a: write the value instead, or put text in quotes"},
		"a merge key":                  {"<<: {name: a}", `f:1: unknown key "<<"; known keys: every, inner, list, name, on`},
		"a tag":                        {"name: !!binary YQ==", "f:1: tag !!binary: remove it, or put text in quotes"},
		"a second YAML document":       {"name: a\n---\nname: b\n", "f:2: a second document; put it into another file"},
		"text behind a YAML document":  {"name: a\n...\nb", "f:2: not valid YAML, here or further down: did not find expected <document start>"},
		"a second JSON value":          {"{}\n{}", "f:2: not valid JSON: invalid character '{' after top-level value"},
		"invalid YAML":                 {"name: a\nlist: [b\n", "f:1: not valid YAML, here or further down: did not find expected ',' or ']'"},
		"invalid JSON":                 {"{\"list\": [\n\"a\"\n\"b\"]}", "f:3: not valid JSON: invalid character '\"' after array element"},
		"truncated JSON":               {"{\n\"list\": [", "f:2: not valid JSON: unexpected end of JSON input"},
		"a line break in a JSON text":  {"{\"name\": \"a\n\"}", "f:1: not valid JSON: invalid character '\\n' in string literal"},
		"a YAML map that opens with {": {"{name: a}", "f:1: not valid JSON: invalid character 'n' looking for beginning of object key string"},
		"deep nesting in YAML":         {"list:\n- " + deep, "f:2: maps and lists nested more than 16 deep"},
		"deep nesting in JSON":         {"{\"list\":\n" + deep + "}", "f:2: maps and lists nested more than 16 deep"},
		"problems in several lines": {"on: 1\nlist: [1]\nname: 2", "" +
			"f:1: on: want a boolean, found a number (1); write true or false\n" +
			"f:2: list[0]: want a string, found a number (1); put it in quotes\n" +
			"f:3: name: want a string, found a number (2); put it in quotes"},
	} {
		t.Run(name, func(t *testing.T) {
			var got settings
			err := Parse("f", []byte(test.content), got.decode)
			if err == nil {
				t.Fatalf("accepted as %+v", got)
			}
			if err.Error() != test.want {
				t.Errorf("got\n%v\nwant\n%s", err, test.want)
			}
		})
	}
}

func TestManyProblemsAreCountedAndLongOnesTruncated(t *testing.T) {
	content := "list: [" + strings.Repeat("1, ", maxProblems+7) + "]"
	err := Parse("f", []byte(content), new(settings).decode)
	if err == nil {
		t.Fatal("accepted")
	}
	lines := strings.Split(err.Error(), "\n")
	if want := "f: problems not listed: 7"; len(lines) != maxProblems+1 || lines[maxProblems] != want {
		t.Errorf("got %d lines, the last %q, want %q", len(lines), lines[len(lines)-1], want)
	}
	err = Parse("f", []byte(`{"`+strings.Repeat("é", 1<<20)+`": 1}`), new(settings).decode)
	if err == nil || len(err.Error()) > maxMessageBytes+10 || strings.ContainsRune(err.Error(), '\uFFFD') {
		t.Errorf("got an error of %d bytes, want it truncated between two characters", len(err.Error()))
	}
}

func TestOnlyRegularFilesOfLimitedSizeAreRead(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	full, tooLarge := filepath.Join(dir, "full"), filepath.Join(dir, "large")
	content := []byte("name: a" + strings.Repeat("\n", MaxFileBytes))
	for file, size := range map[string]int{full: MaxFileBytes, tooLarge: MaxFileBytes + 1} {
		if err := os.WriteFile(file, content[:size], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	small, link := filepath.Join(dir, "small"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(small, []byte("name: a"), 0o600), os.Symlink(small, link)); err != nil {
		t.Fatal(err)
	}

	for _, file := range []string{full, link} {
		var got settings
		if err := Read(file, got.decode); err != nil || got.Name != "a" {
			t.Errorf("%s: got name %q and error %v", file, got.Name, err)
		}
	}
	for file, want := range map[string]string{
		fifo:        fifo + ": not a regular file",
		dir:         dir + ": not a regular file",
		"/dev/zero": "/dev/zero: not a regular file",
		// Stands for /proc/kmsg, where a read blocks.
		"/proc/self/status":          "/proc/self/status: empty file; write {} if this is intended",
		tooLarge:                     tooLarge + ": larger than 16 MiB; split it into several files",
		filepath.Join(dir, "absent"): "open " + filepath.Join(dir, "absent") + ": no such file or directory",
	} {
		err := Read(file, func(Value) { t.Errorf("%s was read", file) })
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestTooManyEntriesAreRefused(t *testing.T) {
	for content, want := range map[string]string{
		"list: [" + strings.Repeat("a,", maxEntries) + "]":          "f: up to 300002 entries, at most 300000 are allowed; split it into several files",
		`{"list": [` + strings.Repeat(`"a",`, maxEntries) + `"a"]}`: "f: up to 300003 entries, at most 300000 are allowed; split it into several files",
	} {
		if err := Parse("f", []byte(content), new(settings).decode); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	// Characters inside of words do not count.
	content := "list: [\"" + strings.Repeat("stratum+tcp://a-b?c:3333-", maxEntries) + "\"]"
	if err := Parse("f", []byte(content), new(settings).decode); err != nil {
		t.Error(err)
	}
}

// largeFiles are the files that need the most memory, and an ordinary list.
func largeFiles() map[string]func() string {
	repeat := func(begin, unit string, size int, end string) func() string {
		return func() string { return begin + strings.Repeat(unit, (size-len(begin)-len(end))/len(unit)) + end }
	}
	const per = maxEntries - 2
	return map[string]func() string{
		"a list of strings":    repeat("list:\n", "- pool-1.example.org\n", 21*per, ""),
		"a short list":         repeat("list: [", "a,", 2*per, "]"),
		"a map without values": repeat("list: {", "a,", 2*per, "}"),
		"a map of lists":       repeat("list: {", "a:[],", 5*per/2, "}"),
		"comments":             repeat("list:\n", "# c\n- a\n", 8*per/2, ""),
		"a JSON list":          repeat(`{"list":[`, "1,", 2*per, "1]}"),
		"one long string":      repeat(`list: "`, "\n", MaxFileBytes, `"`),
		"a long string and a map": func() string {
			return repeat("list: {", "a,", 2*per, `"`)() + repeat("", "\n", MaxFileBytes-2*per-10, `"}`)()
		},
		"a list above the limit":   repeat("list: [", "a,", MaxFileBytes, "]"),
		"JSON above the limit":     repeat(`{"list":[`, "1,", MaxFileBytes, "1]}"),
		"only empty items":         repeat("list:\n", "-\n", MaxFileBytes, ""),
		"duplicate keys":           repeat("", "a: b\n", 5*per, ""),
		"long lines of characters": repeat("list: ", "-", MaxFileBytes, ""),
	}
}

// The chart's memory limit for the agent is 512 MiB; the tables of 100,000 strings need
// 200 MiB.
func TestReadingNeedsBoundedMemory(t *testing.T) {
	const most = 300 << 10 // KiB
	if name := os.Getenv("CRYPTNONO_TEST_READ"); name != "" {
		_ = Parse("f", []byte(largeFiles()[name]()), new(settings).decode)
		return
	}
	if testing.Short() {
		t.Skip("reads files of many megabytes")
	}
	for name := range largeFiles() {
		cmd := exec.Command(os.Args[0], "-test.run=^TestReadingNeedsBoundedMemory$")
		cmd.Env = append(os.Environ(), "CRYPTNONO_TEST_READ="+name)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		used, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		if !ok || used.Maxrss > most {
			t.Errorf("%s: %d KiB, want at most %d", name, used.Maxrss, most)
		}
		t.Logf("%s: %d KiB", name, used.Maxrss)
	}
}
