package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/config"
	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/setting"
)

// always is a section without settings.
type always struct{}

func (always) Table() setting.Table { return nil }
func (always) IsEnabled() bool      { return true }

// A detector that cannot be loaded, or that this machine does not support, leaves the
// others running.
func TestADetectorThatCannotBeLoadedDoesNotAffectOthers(t *testing.T) {
	loads := func(d detector.Detector, err error) func(detector.Env, detector.Policy) (detector.Detector, error) {
		return func(detector.Env, detector.Policy) (detector.Detector, error) { return d, err }
	}
	good, rejected := newStoppable("good"), errors.New("rejected by the verifier")
	unsupported := fmt.Errorf("no such tracepoint: %w", detector.ErrUnsupported)
	for _, c := range []struct {
		name         string
		first, other error
		running      string
		ready, err   string
	}{
		{"all are loaded", nil, nil, "[first other]", "", ""},
		{"one fails to load", rejected, nil, "[other]", "loading first: rejected by the verifier", ""},
		{"one is not supported", unsupported, nil, "[other]", "", ""},
		{"none can be loaded", rejected, unsupported, "[]", "loading first: rejected by the verifier",
			"no detector is running\nloading first: rejected by the verifier\nno such tracepoint: not supported by this machine"},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := slog.New(slog.DiscardHandler)
			kinds := []detector.Kind{{Name: "first"}, {Name: "other"}}
			for i, err := range []error{c.first, c.other} {
				kinds[i].Settings = func() detector.Section { return always{} }
				kinds[i].Load = loads(good, err)
			}
			p := &Policy{Config: config.Default(kinds)}
			d := newDetectors(kinds, &shared{Env: detector.Env{Log: log, Health: health.NewMonitor(log)}})
			group, ctx := errgroup.WithContext(t.Context())
			err := d.apply(ctx, group, p)
			if got := fmt.Sprint(d.names()); got != c.running {
				t.Errorf("running: %s, want %s", got, c.running)
			}
			if got := errText(d.ready()); got != c.ready {
				t.Errorf("ready: %q, want %q", got, c.ready)
			}
			if got := errText(err); got != c.err {
				t.Errorf("error %q, want %q", got, c.err)
			}
			if err := errors.Join(d.close(), group.Wait()); err != nil {
				t.Error(err)
			}
		})
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return strings.TrimSpace(err.Error())
}
