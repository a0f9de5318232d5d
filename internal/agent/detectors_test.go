package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/health"
)

// stoppable is a detector whose Run returns the error that is sent to end.
type stoppable struct {
	prometheus.Gauge
	end chan error
}

func (m stoppable) Run(ctx context.Context) error {
	select {
	case err := <-m.end:
		return err
	case <-ctx.Done():
		return nil
	}
}

func (m stoppable) Collector() prometheus.Collector { return m }
func (m stoppable) Apply(detector.Policy) error     { return nil }
func (m stoppable) Close() error                    { return nil }

func newStoppable(name string) stoppable {
	return stoppable{prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: "x"}), make(chan error)}
}

func TestADetectorThatEndsDoesNotEndOthers(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	d := newDetectors([]detector.Kind{{Name: "one"}, {Name: "two"}}, &shared{Env: detector.Env{Log: log, Health: health.NewMonitor(log)}})
	group, ctx := errgroup.WithContext(t.Context())
	one, two := newStoppable("one"), newStoppable("two")
	d.start(ctx, group, "one", one)
	d.start(ctx, group, "two", two)
	state := func() string {
		registry := prometheus.NewRegistry()
		registry.MustRegister(d)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var page strings.Builder
		for _, f := range families {
			if f.GetName() == "cryptnono_detector_up" {
				if _, err := expfmt.MetricFamilyToText(&page, f); err != nil {
					t.Fatal(err)
				}
			}
		}
		_, page2, _ := strings.Cut(page.String(), "gauge\n")
		return fmt.Sprint(strings.Fields(page2), d.names(), d.ready())
	}
	becomes := func(want string) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); state() != want; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("got %s, want %s", state(), want)
			}
		}
	}
	becomes(`[cryptnono_detector_up{detector="one"} 1 cryptnono_detector_up{detector="two"} 1] [one two] <nil>`)
	one.end <- errors.New("its programs are gone")
	becomes(`[cryptnono_detector_up{detector="one"} 0 cryptnono_detector_up{detector="two"} 1] [two] detector one ended: its programs are gone`)

	// It is loaded again as soon as loading succeeds.
	one = newStoppable("one")
	k := detector.Kind{Name: "one", Load: func(detector.Env, detector.Policy) (detector.Detector, error) { return nil, errors.New("no memory") }}
	if err := d.load(ctx, group, k, new(Policy)); err == nil {
		t.Error("no error")
	}
	becomes(`[cryptnono_detector_up{detector="one"} 0 cryptnono_detector_up{detector="two"} 1] [two] detector one ended: its programs are gone`)
	k.Load = func(detector.Env, detector.Policy) (detector.Detector, error) { return one, nil }
	if err := d.load(ctx, group, k, new(Policy)); err != nil {
		t.Error(err)
	}
	becomes(`[cryptnono_detector_up{detector="one"} 1 cryptnono_detector_up{detector="two"} 1] [one two] <nil>`)

	// The end of the last running detector is an error.
	two.end <- nil
	becomes(`[cryptnono_detector_up{detector="one"} 1 cryptnono_detector_up{detector="two"} 0] [one] detector two ended: it ended without an error`)
	one.end <- errors.New("its programs are gone")
	if err := group.Wait(); err == nil || err.Error() != "no detector is running any longer: one: its programs are gone" {
		t.Errorf("got %v", err)
	}
	if err := d.close(); err != nil {
		t.Error(err)
	}
}
