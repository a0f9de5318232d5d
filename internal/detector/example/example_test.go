package example

import (
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

func TestMain(m *testing.M) {
	procread.ServeIfChild()
	os.Exit(testutil.RunWithoutLeaks(m))
}

// trueAs makes a file of that name, which is the program true.
func trueAs(t *testing.T, name string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	in, err := os.Open("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o700)
	if err == nil {
		_, err = io.Copy(out, in)
		_ = out.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestListedProgramsDieAndOthersLive(t *testing.T) {
	testutil.Privileged(t)
	exempted := trueAs(t, "a-listed-name")
	var log testutil.Buffer
	env := detectortest.Env(t, detectortest.Options{
		Exemptions: exempt.Rules{Programs: []string{exempted}}, Log: slog.New(slog.NewJSONHandler(&log, nil)),
	})
	settings := &Settings{Enabled: true, Action: rules.Kill, Names: []string{"a-listed-name", "a-name-of-15-by"}}
	d, err := Load(env, detector.Policy{Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	detectortest.Run(t, d)
	dies := func(program string) bool {
		t.Helper()
		cmd := exec.Command(program)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return testutil.DiedOf(cmd) == syscall.SIGKILL
	}
	for _, c := range []struct {
		name, program string
		dies          bool
	}{
		{"a listed name", trueAs(t, "a-listed-name"), true},
		{"a name that is cut to a listed one", trueAs(t, "a-name-of-15-bytes-and-more"), true},
		{"a name that begins like a listed one", trueAs(t, "a-listed-name2"), false},
		{"an exempt program", exempted, false},
	} {
		if got := dies(c.program); got != c.dies {
			t.Errorf("%s: killed %v, want %v", c.name, got, c.dies)
		}
	}
	testutil.Eventually(t, "the log lines", func() bool {
		return strings.Count(log.String(), `"action":"killed"`) == 2 && strings.Count(log.String(), `"allowedby":"program `+exempted) == 1
	})

	observing := *settings
	observing.Action = rules.Observe
	if err := d.Apply(detector.Policy{Settings: &observing}); err != nil {
		t.Fatal(err)
	}
	if dies(trueAs(t, "a-listed-name")) {
		t.Error("killed although it is only to be observed")
	}
	c, err := verdict.ReadCounters(d.shared[bpfMapCounters], verdict.OwnCounters)
	if err != nil {
		t.Fatal(err)
	}
	if v := c.Verdicts(); v[verdict.Killed] != 2 || v[verdict.Exempt] != 1 || v[verdict.Observed] != 1 {
		t.Errorf("counted %v", v)
	}
}

func TestTheVerifierIsFarFromItsLimit(t *testing.T) {
	testutil.Privileged(t)
	spec, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	testutil.LogVerified(t, "example", spec)
}
