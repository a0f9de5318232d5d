package agent

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cryptnono/cryptnono/internal/config"
	known "github.com/cryptnono/cryptnono/internal/detectors"
)

func TestEachNoticeIsALineOfTheLog(t *testing.T) {
	p := Policy{Config: config.Default(known.All())}
	p.Notices = []string{"fetchKernelHeaders has no effect", "two\nlines \x1b[31m"}
	var out bytes.Buffer
	p.warn(slog.New(slog.NewJSONHandler(&out, nil)))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], `"level":"WARN","msg":"notice about the settings","notice":"fetchKernelHeaders has no effect"`) {
		t.Errorf("got %q", lines)
	}
}

// The operator of a chart that includes this one sees no other trace of them.
func TestTheMetricCountsTheNotices(t *testing.T) {
	c := config.Default(known.All())
	c.Notices = []string{"fetchKernelHeaders has no effect", "image.name has no effect"}
	p, err := Compile(c)
	if err != nil {
		t.Fatal(err)
	}
	r := new(reloader)
	r.state.Store(&state{policy: p})
	registry := prometheus.NewRegistry()
	registry.MustRegister(r)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "cryptnono_config_notices" {
			if n := f.GetMetric()[0].GetGauge().GetValue(); n != 2 {
				t.Errorf("got %v", n)
			}
			return
		}
	}
	t.Error("no metric")
}
