package agent

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/config"
	known "github.com/cryptnono/cryptnono/internal/detectors"
	"github.com/cryptnono/cryptnono/internal/systemd"
)

// A reload that is refused for a rule file that the settings name newly: when the file is corrected, it is read
// again. Until then nothing is, though it is not of the policy in effect.
func TestANewRuleFileIsReadAgainWhenItIsCorrected(t *testing.T) {
	for name, c := range map[string]struct{ settings, text string }{
		"it has a mistake":                {"builtinRules: false\n", "bannedCommandStrngs: [other.example]\n"},
		"it is missing":                   {"builtinRules: false\n", ""},
		"no policy leaves out a bad file": {"builtinRules: false\nonBadRules: stop\n", "bannedCommandStrngs: [other.example]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				put := func(name, text string) string {
					path := filepath.Join(dir, name)
					if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
					return path
				}
				put("a.yaml", "bannedCommandStrings: [pool.example]\n")
				settings := put("config.yaml", c.settings+"rules: [a.yaml]\n")
				good := errors.New("no more to refuse")
				var reads []error
				read := func() (Policy, error) {
					p, err := Read([]string{settings}, func() (config.Config, error) { return config.Load(settings, known.All()) }, CompileGood)
					if err == nil && p.Refused == nil {
						err = good // without detectors it cannot be applied
					}
					reads = append(reads, errors.Join(err, p.refusal()))
					return p, err
				}
				p, _ := read()
				a := &Agent{Policy: p, Files: []string{settings}, Read: read, Log: slog.New(slog.DiscardHandler)}
				r := newReloader(a, newDetectors(nil, new(shared)))
				group, ctx := errgroup.WithContext(t.Context())
				group.Go(func() error { return r.run(ctx, group, systemd.Notifier{Log: a.Log}) })
				wait := func(what string, n int) {
					t.Helper()
					time.Sleep(10 * pollInterval)
					synctest.Wait()
					if len(reads) != n {
						t.Fatalf("%s: %d reads, want %d: %v", what, len(reads), n, reads)
					}
				}
				wait("at the start", 1)
				if c.text != "" {
					put("b.yaml", c.text)
				}
				put("config.yaml", c.settings+"rules: [a.yaml, b.yaml]\n")
				wait("with a new file", 2)
				if errors.Is(reads[1], good) {
					t.Error("it was not refused")
				}
				put("b.yaml", "bannedCommandStrings: [another.example]\n")
				wait("corrected", 3)
				if !errors.Is(reads[2], good) {
					t.Errorf("refused: %v", reads[2])
				}
				put("config.yaml", c.settings+"rules: [a.yaml, b.yaml\n")
				wait("with bad settings", 4)
				put("a.yaml", "bannedCommandStrings: [yet-another.example]\n")
				wait("with a change of what is in effect", 5)
			})
		})
	}
}
