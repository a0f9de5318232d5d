package process

import (
	"slices"
	"testing"
)

func TestTheArgumentThatMayBeAScript(t *testing.T) {
	for args, want := range map[string]string{
		"sh\x00/opt/a\x00/opt/b\x00":       "/opt/a",
		"sh\x00-e\x00/opt/a\x00b\x00":      "/opt/a",
		"python3\x00./a\x00":               "./a",
		"sh\x00-c\x00/opt/a\x00":           "", // a text
		"bash\x00-lc\x00/opt/a\x00":        "",
		"sh\x00a\x00/opt/a\x00":            "", // an argument of a
		"sh\x00-e\x00-u\x00/opt/a\x00":     "",
		"sh\x00/opt/a":                     "/opt/a",
		"":                                 "",
		"\x00\x00":                         "",
		"sh\x00/opt/a b\x00\xff\x00\x00-c": "/opt/a b",
	} {
		info := Info{Program: "/bin/sh", Args: []byte(args)}
		all := []string{"/bin/sh"}
		if want != "" {
			all = append(all, want)
		}
		if got := info.Paths(); !slices.Equal(got, all) {
			t.Errorf("%q: %q", args, got)
		}
		info.Rewritten = true
		if got := info.Paths(); !slices.Equal(got, all[:1]) {
			t.Errorf("%q, rewritten: %q", args, got)
		}
	}
}
