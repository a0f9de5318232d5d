package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBrokenLinksAreFound(t *testing.T) {
	for name, c := range map[string]struct{ body, broken string }{
		"a page":                    {`<a href="/site/docs/a/">`, ""},
		"a relative page":           {`<a href="docs/a/">`, ""},
		"an address with a host":    {`<a href="https://x.example/site/docs/a/#there">`, ""},
		"a heading":                 {`<a href="/site/docs/a/#there">`, ""},
		"a heading of its own":      {`<h1 id=own></h1><a href="#own">`, ""},
		"a picture":                 {`<img src="/site/p.svg">`, ""},
		"a file of the repository":  {`<a href="https://r.example/o/r/blob/main/main.go#L1">`, ""},
		"elsewhere":                 {`<a href="https://y.example/missing">`, ""},
		"no page":                   {`<a href="/site/docs/b/">`, "docs/b"},
		"no heading":                {`<a href="/site/docs/a/#elsewhere">`, "no #elsewhere"},
		"no heading of its own":     {`<a href="#own">`, "no #own"},
		"no picture":                {`<img src="/site/q.svg">`, "q.svg"},
		"no file of the repository": {`<a href="https://r.example/o/r/blob/main/missing.go">`, "missing.go"},
		"no link":                   {`<a href="http://[">`, "["},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range map[string]string{"index.html": c.body, "docs/a/index.html": `<h1 id="there">`, "p.svg": "x"} {
				file = filepath.Join(dir, file)
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var said strings.Builder
			s := site{dir: dir, base: "https://x.example/site/", repository: "https://r.example/o/r", pages: make(map[string]page), stderr: &said}
			err := s.check()
			if (err != nil) != (c.broken != "") || !strings.Contains(said.String(), c.broken) {
				t.Errorf("got %v and %q", err, said.String())
			}
		})
	}
}
