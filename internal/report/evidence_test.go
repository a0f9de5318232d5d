package report

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// slowEvidence is evidence that takes until ready is closed, or the reporter ends.
type slowEvidence struct {
	ready   chan struct{}
	dropped *int
}

func (s slowEvidence) Gather(ctx context.Context) (line, container []slog.Attr) {
	select {
	case <-s.ready:
		return []slog.Attr{slog.String("cwd", "/here")}, []slog.Attr{slog.Int("processes_total", 7)}
	case <-ctx.Done():
		return nil, nil
	}
}

func (s slowEvidence) Drop() { *s.dropped++ }

func TestALineWaitsForItsEvidenceButReportDoesNot(t *testing.T) {
	var out, spare testutil.Buffer
	r := New(logging(&out), "", nil)
	r.LogExecs(logging(&spare))
	r.names.most = 4
	ready, dropped := make(chan struct{}), 0
	const all = 8
	for range all {
		r.Report(Verdict{Action: Killed, PID: 1, Evidence: slowEvidence{ready, &dropped}})
	}
	if written := lines(&out, `"pid":1`); written != dropped || dropped < 3 || strings.Contains(out.String(), "cwd") {
		t.Fatalf("%d lines of %d were written without evidence: %s", dropped, written, out.String())
	}
	close(ready)
	testutil.Eventually(t, "the lines", func() bool {
		return lines(&out, `"pid":1`, `"cwd":"/here"`) == all-dropped
	})
	testutil.Eventually(t, "the lines about containers", func() bool {
		return lines(&spare, `"msg":"evidence"`, `"of_pid":1`, `"processes_total":7`) == lines(&out, `"cwd":"/here"`)
	})
}

func TestEvidenceDoesNotDelayTheEnd(t *testing.T) {
	var out testutil.Buffer
	r := New(logging(&out), "", nil)
	dropped := 0
	r.Report(Verdict{Action: Killed, PID: 1, Evidence: slowEvidence{make(chan struct{}), &dropped}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	if err := r.Run(ctx, (*health.Monitor)(nil).Loop("test", health.DefaultLimit)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > testutil.Patience(2*time.Second) || lines(&out, `"pid":1`) != 1 {
		t.Errorf("after %v: %s", took, out.String())
	}
}
