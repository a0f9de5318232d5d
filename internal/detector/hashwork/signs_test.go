package hashwork

import (
	"log/slog"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/killlimit"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// What spares a process also spares it from two likely signs, and is none.
func TestWhatSparesAProcessWithTwoLikelySigns(t *testing.T) {
	sleep := needed(t, "sleep")
	for _, c := range []struct {
		name       string
		exemptions exempt.Rules
		change     func(*verdict.Suspect)
		want       verdict.Action
		sign       bool // whether others are told of it
	}{
		{name: "nothing", want: verdict.Killed, sign: true},
		{name: "an exemption", exemptions: exempt.Rules{Programs: []string{sleep}}, want: verdict.Exempt},
		{name: "an allow pattern", change: func(s *verdict.Suspect) { s.AllowedBy = "rule" }, want: verdict.Allowed},
		{name: "the operator", change: func(s *verdict.Suspect) { s.Observe = true }, want: verdict.Observed},
		{name: "the kill limit", want: verdict.Limited, sign: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log testutil.Buffer
			e := detectortest.Env(t, detectortest.Options{Exemptions: c.exemptions, Log: slog.New(slog.NewJSONHandler(&log, nil))})
			cmd := testutil.Start(t, exec.Command(sleep, "60"))
			at, err := e.Inventory.Locate(cmd.Process.Pid)
			if err != nil {
				t.Fatal(err)
			}
			h, err := at.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			pool := verdict.Sign{Kind: verdict.NamesPool, Text: "other: a pool"}
			s := verdict.Suspect{
				Event: at, Handle: h, Programs: []string{sleep}, Line: report.Verdict{Detector: Name, Source: source},
				Likely: verdict.Sign{Kind: verdict.Computes, Text: "this: computes"},
			}
			if c.change != nil {
				c.change(&s)
			}
			if c.want == verdict.Limited {
				if err := e.Judge.Limit.Apply(killlimit.Limits{PerMinute: 1, Cooldown: time.Minute}); err != nil {
					t.Fatal(err)
				}
				if _, err := e.Judge.Limit.Take(1, "another", at); err != nil {
					t.Fatal(err)
				}
			}
			var tally verdict.Tally
			decide := func() verdict.Action {
				t.Helper()
				did, err := e.Judge.Decide(t.Context(), s, &tally)
				if err != nil {
					t.Fatal(err)
				}
				return did
			}
			first := c.want
			if c.sign {
				first = verdict.Observed
			}
			if did := decide(); did != first {
				t.Errorf("alone: %v", did)
			}
			s.Again = true
			lines := log.String()
			if did := decide(); did != verdict.Observed || log.String() != lines {
				t.Errorf("alone, again: %v, %s", did, log.String())
			}
			other := e.Judge.Meet(at, pool)
			if (other != "") != c.sign {
				t.Errorf("others are told of %q", other)
			}
			if did := decide(); did != c.want && c.sign {
				t.Errorf("with a sign of a pool: %v", did)
			}
			s.Again = false
			if did := decide(); did != c.want && (c.want != verdict.Killed || did != verdict.Missed) {
				t.Errorf("with a sign of a pool, for the first time: %v", did)
			}
			if c.want != verdict.Killed {
				_ = cmd.Process.Signal(syscall.SIGTERM)
			}
			_ = cmd.Wait()
			if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || (status.Signal() == syscall.SIGKILL) != (c.want == verdict.Killed) {
				t.Errorf("it ended with %v", cmd.ProcessState)
			}
		})
	}
}
