package example

import (
	"log/slog"
	"strings"
	"syscall"
	"testing"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestRootOnTheNodeIsSparedOnlyIfTheSettingsSaySo(t *testing.T) {
	testutil.Privileged(t)
	program := trueAs(t, "a-listed-name")
	cases := testutil.RootCases(t) // before Env, so that it classifies their cgroups
	for _, setting := range []bool{false, true} {
		var log testutil.Buffer
		env := detectortest.Env(t, detectortest.Options{
			Exemptions: exempt.Rules{NodeRoot: setting}, Log: slog.New(slog.NewJSONHandler(&log, nil)),
		})
		d, err := Load(env, detector.Policy{Settings: &Settings{Enabled: true, Action: rules.Kill, Names: []string{"a-listed-name"}}})
		if err != nil {
			t.Fatal(err)
		}
		detectortest.Run(t, d)
		for _, c := range cases {
			want := syscall.SIGKILL
			if c.Node && setting {
				want = -1 // of none
			}
			if got := testutil.DiedOf(c.Start(t, program)); got != want {
				t.Errorf("%s, with the setting %v: died of %v", c.Name, setting, got)
			}
		}
		testutil.Eventually(t, "the log lines", func() bool {
			text := log.String()
			return strings.Contains(text, `"allowedby":"exemptions.nodeRoot"`) == setting && strings.Count(text, `"action"`) == len(cases)
		})
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}
