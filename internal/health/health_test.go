package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

func quiet() *Monitor { return NewMonitor(slog.New(slog.DiscardHandler)) }

func TestALoopIsOverdueWhileAnIterationTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := quiet()
		events, scan := m.Loop("events", time.Minute), m.Loop("scan", time.Hour)
		wait := func(d time.Duration, want string) {
			t.Helper()
			time.Sleep(d)
			got := ""
			if err := m.Check(); err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		wait(time.Hour, "") // nothing to do yet
		events.Progress()
		scan.Progress()
		wait(time.Minute, "")
		wait(35*time.Second, "events: no progress for 95 s")
		events.Progress()
		wait(time.Minute, "")
		events.Idle()
		wait(time.Hour, "scan: no progress for 3755 s")
		events.Progress()
		wait(2*time.Minute, "events: no progress for 120 s\nscan: no progress for 3875 s")
		scan.End()
		events.Idle()
		wait(0, "")
		m.SetFailed(errors.New("exemptions: ended"))
		wait(0, "exemptions: ended")
	})
}

func TestMetricsShowWhichLoopIsOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := quiet()
		old := m.Loop("events", time.Minute)
		old.Progress()
		m.Loop("scan", time.Minute)
		time.Sleep(2 * time.Minute)
		old.Failed(errors.New("x"))
		m.Loop("events", time.Minute) // replaces the old one, which hangs
		registry := prometheus.NewRegistry()
		registry.MustRegister(m)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var page strings.Builder
		for _, f := range families {
			if _, err := expfmt.MetricFamilyToText(&page, f); err != nil {
				t.Fatal(err)
			}
		}
		for _, line := range []string{
			`cryptnono_loop_errors_total{loop="events"} 1`, `cryptnono_loop_errors_total{loop="scan"} 0`,
			`cryptnono_loop_overdue{loop="events"} 1`, `cryptnono_loop_overdue{loop="scan"} 0`,
		} {
			if !strings.Contains(page.String(), line+"\n") {
				t.Errorf("no %s in\n%s", line, &page)
			}
		}
	})
}

func TestALoopIsRetriedAfterAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := quiet().Loop("events", time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		began, tries := time.Now(), 0
		var at []time.Duration
		err := l.Retry(ctx, func() error {
			l.Progress()
			at = append(at, time.Since(began).Round(time.Millisecond))
			switch tries++; tries {
			case 4:
				time.Sleep(time.Hour) // longer than maxPause
			case 6:
				return fmt.Errorf("the ring buffer: %w", ErrPermanent)
			}
			return errors.New("interrupted")
		})
		if !errors.Is(err, ErrPermanent) {
			t.Errorf("got %v", err)
		}
		const ms = time.Millisecond
		want := []time.Duration{0, 100 * ms, 300 * ms, 700 * ms, time.Hour + 800*ms, time.Hour + 1000*ms}
		if fmt.Sprint(at) != fmt.Sprint(want) {
			t.Errorf("tried at %v, want %v", at, want)
		}
		if l.age() != 0 {
			t.Error("the loop is not idle")
		}

		cancel()
		if err := l.Retry(ctx, func() error { return errors.New("closed") }); err != nil {
			t.Errorf("after the end of ctx: %v", err)
		}
		if err := l.Retry(t.Context(), func() error { return nil }); err != nil {
			t.Errorf("without an error: %v", err)
		}
	})
}

func TestTheLoopOfANilMonitorOnlyRetries(t *testing.T) {
	l := (*Monitor)(nil).Loop("events", time.Minute)
	l.Progress()
	l.Idle()
	l.Failed(errors.New("x"))
	if err := l.Retry(t.Context(), func() error { return ErrPermanent }); !errors.Is(err, ErrPermanent) {
		t.Errorf("got %v", err)
	}
	l.End()
}
