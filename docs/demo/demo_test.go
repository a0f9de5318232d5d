package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

// texts returns the characters of a picture, which must be well-formed XML, element by
// element.
func texts(t *testing.T, picture []byte) (all []string) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(picture))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := token.(xml.CharData); ok && strings.TrimSpace(string(text)) != "" {
			all = append(all, string(text))
		}
	}
}

func TestTheReadmeShowsAKill(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(readme, []byte("](docs/demo/demo.svg)")) {
		t.Error("README.md does not show the picture")
	}
	picture, err := os.ReadFile("demo.svg")
	if err != nil {
		t.Fatal(err)
	}
	if len(picture) > 60_000 {
		t.Errorf("the picture has %d bytes", len(picture))
	}
	shown := strings.Join(texts(t, picture), "")
	for _, text := range []string{"Killed", `"killed a process"`, `"detector":"execwhacker"`, `"detector":"monero"`, hostname} {
		if !strings.Contains(shown, text) {
			t.Errorf("the picture does not show %s", text)
		}
	}
}

func TestAPictureShowsTheWholeText(t *testing.T) {
	for name, line := range map[string]string{
		"a prompt and a command":         "user@host:~$ ./a <b> & 'c'",
		"a line of the log":              `{"msg":"killed a process","pid":1}`,
		"one that is too long":           `{"a":"` + strings.Repeat("x", columns-10) + `","b":1,"c":"` + strings.Repeat("y", 3*columns) + `"}`,
		"one as wide as the terminal":    strings.Repeat("z", columns),
		"one of characters of two bytes": strings.Repeat("é", columns+1),
	} {
		t.Run(name, func(t *testing.T) {
			shown := texts(t, svg(pane{"title", []string{line}}))[2:] // without both titles
			got := strings.ReplaceAll(strings.Join(shown, ""), " ", "")
			if want := strings.ReplaceAll(line, " ", ""); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestLinesBreakBehindACommaWhereTheyCan(t *testing.T) {
	long := strings.Repeat("x", columns-20)
	rows := wrap([]string{long + "," + long, strings.Repeat("y", columns+1)})
	var got []string
	for _, r := range rows {
		var text strings.Builder
		for _, s := range r {
			text.WriteString(s.text)
		}
		got = append(got, text.String())
	}
	want := []string{long + ",", long, strings.Repeat("y", columns), "y"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q, want %q", got, want)
	}
}
