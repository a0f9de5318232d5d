package execwhacker

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// Also one in an unknown container, about which user space decides.
func TestAnExecBeforeTheAgentHasItsTime(t *testing.T) {
	var log bytes.Buffer
	d := &Detector{began: process.SinceBoot(), rescan: make(chan reason, 1)}
	d.metrics = newMetrics(d.kernelCounts, d.execLimit.count)
	d.Judge = &verdict.Judge{Report: report.New(slog.New(slog.NewJSONHandler(&log, nil)), "", nil)}
	d.generations.Store(&generation{
		number: 1, rules: "id", expressions: new(match.Expressions), set: rules.Set{Bans: []rules.Ban{{Text: "word"}}},
	})
	q := &undecided{Pending: verdict.NewPending(d.Judge, nil), detector: d}
	block := make(chan struct{})
	for q.Go("", func() { <-block }) { // so that the container stays unknown
	}
	defer q.Wait()
	defer close(block)
	for outcome, action := range map[verdict.Outcome]string{
		verdict.OutcomeUnknownContainer: "spared", verdict.OutcomeObserved: "observed",
	} {
		for _, c := range []struct {
			exec time.Duration
			at   bool
		}{{d.began - time.Second, true}, {d.began + time.Second, false}} {
			log.Reset()
			e := event{exec: uint64(c.exec), generation: 1, ban: 1}
			e.Outcome = outcome
			d.handle(t.Context(), e, q)
			if line := log.String(); !strings.Contains(line, action) || strings.Contains(line, `"at":"`) != c.at {
				t.Errorf("an exec %v after the start: got %s", c.exec-d.began, line)
			}
		}
	}
}
