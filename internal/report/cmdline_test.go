package report

import (
	"strings"
	"testing"
)

func TestACommandLineIsBoundedAndHasNoSecrets(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for name, c := range map[string]struct {
		area    string
		omitted int
		want    string
	}{
		"plain":                        {"sh\x00-c\x00a b\x00", 0, "sh -c a b"},
		"a space in argv[0]":           {"my shell\x00-c\x00", 0, `my\x20shell -c`},
		"a secret":                     {"x\x00--password=a b\x00-o\x00pool\x00-u\x00WALLET\x00", 0, "x --password=*** -o pool -u WALLET"},
		"a secret at the limit":        {"x\x00" + long[:4080] + "\x00--token=secret\x00", 0, "x " + long[:4080] + " --token=***…(+2 bytes)"},
		"a password at the limit":      {"x\x00" + long[:4083] + "\x00a://u:secret@b\x00", 0, "x " + long[:4083] + " a://***…(+5 bytes)"},
		"a URL that the kernel cut":    {"git\x00https://me:secr", 10, "git https://***…(+10 bytes)"},
		"a long one that was cut also": {long, 10, long[:4096] + "…(+914 bytes)"},
	} {
		if got := Cmdline([]byte(c.area), c.omitted); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got[max(0, len(got)-40):], c.want[max(0, len(c.want)-40):])
		}
	}
}
