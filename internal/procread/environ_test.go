package procread

import (
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestEnvironReturnsOnlyTheNamedVariables(t *testing.T) {
	long := strings.Repeat("x", 2*maxEnvValue)
	for name, c := range map[string]struct {
		area  string
		names []string
		want  map[string]string
	}{
		"no names":                    {"A=1\x00", nil, nil},
		"an empty environment":        {"", []string{"A"}, nil},
		"one of several":              {"A=1\x00B=2\x00", []string{"B"}, map[string]string{"B": "2"}},
		"an end without NUL":          {"A=1\x00B=2", []string{"B"}, map[string]string{"B": "2"}},
		"the first of two counts":     {"A=1\x00A=2\x00", []string{"A"}, map[string]string{"A": "1"}},
		"an equals sign in a value":   {"A=b=c\x00", []string{"A"}, map[string]string{"A": "b=c"}},
		"names that contain the name": {"XA=1\x00AX=2\x00", []string{"A"}, nil},
		"no equals sign":              {"A\x00", []string{"A"}, nil},
		"a value that is not text":    {"A=\x1b[31m\xff\x00", []string{"A"}, map[string]string{"A": `\x1b[31m\xff`}},
		"a long value":                {"A=" + long, []string{"A"}, map[string]string{"A": long[:maxEnvValue] + "…(+1024 bytes)"}},
		"secrets next to it":          {"TOKEN=s\x00A=1\x00KEY=s\x00", []string{"A"}, map[string]string{"A": "1"}},
		"a secret by its name":        {"API_TOKEN=s\x00", []string{"API_TOKEN"}, map[string]string{"API_TOKEN": "***"}},
		"a secret in a URL":           {"URL=https://u:s@h\x00", []string{"URL"}, map[string]string{"URL": "https://***@h"}},
		"a secret that is cut":        {"URL=https://u:s", []string{"URL"}, map[string]string{"URL": "https://***"}},
		"a name with a value":         {"A=1\x00", []string{"A=1"}, nil},
	} {
		if got := Environ([]byte(c.area), c.names); !maps.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestTheEnvironmentOfAProcessIsRead(t *testing.T) {
	cmd := exec.Command("sleep", "600")
	cmd.Env = append(os.Environ(), "CRYPTNONO_TEST=a b", "SECRET=x")
	testutil.Start(t, cmd)
	h, err := process.Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	r := newReader(t)
	got, err := r.Environ(t.Context(), h, "", []string{"CRYPTNONO_TEST", "NONE"})
	if err != nil || !maps.Equal(got, map[string]string{"CRYPTNONO_TEST": "a b"}) {
		t.Errorf("got %q, %v", got, err)
	}
}
