package report

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/container"
)

// podOwners returns the same pod for all containers.
type podOwners struct {
	owners
	container *container.Container
}

func (p podOwners) Cached(cgroup.ContainerRef) (*container.Container, bool) { return p.container, true }

// The cost of a verdict with its own line, and of a suppressed one.
func BenchmarkReport(b *testing.B) {
	c := pod()
	for i := range 10 {
		c.Labels[fmt.Sprintf("app.example.org/label-%d", i)] = "value of a label"
	}
	for name, cmdline := range map[string]string{
		"100 bytes":   "/usr/bin/python3 -c " + strings.Repeat("x", 80),
		"4,096 bytes": strings.Repeat("x", 4096),
		"escapes":     strings.Repeat(`\x1b`, 1024),
	} {
		for _, limit := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s, suppressed %v", name, limit), func(b *testing.B) {
				w := NewWriter(io.Discard, jsonLines)
				r := New(slog.New(slog.NewJSONHandler(w, nil)), "node1", podOwners{container: c})
				if limit {
					r.Limit(NewLines(slog.New(slog.DiscardHandler)))
				}
				v := Verdict{
					Action: Killed, Detector: "execwhacker", Source: "exec", PID: 4711, PPID: 4242, UID: 1000, Program: "/usr/bin/python3",
					Cmdline: cmdline, Cgroup: new(cgroup.Parser).At("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0f34b8b1_91a4_4f40_8a2e_2d0e2a1e6d50.slice/cri-containerd-" +
						strings.Repeat("a", 64) + ".scope"), Matched: "word", Rule: "rules.yaml:1 bannedCommandStrings[0]", After: time.Millisecond,
				}
				b.ReportAllocs()
				for b.Loop() {
					r.Report(v)
				}
				if err := w.Close(time.Minute); err != nil {
					b.Error(err)
				}
				b.ReportMetric(float64(w.Lost())/float64(b.N), "lost/op")
			})
		}
	}
}
