package monero

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
	"github.com/cryptnono/cryptnono/internal/guard"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/report"
)

const (
	// unknownAge and mapsAge are for how long a process's memory map is believed,
	// of a place that was not in it and of one that was.
	unknownAge = 500 * time.Millisecond
	mapsAge    = 10 * time.Second
	// mapsRest is for how many times as long as it took to read a memory map
	// none is read again: a process can make it long, and there can be many.
	mapsRest = 9
	// boostStep is for how long one sample in a directed mode raises the rate.
	boostStep = time.Second
)

// A judge acts on samples. It is for one goroutine.
type judge struct {
	*Policy
	guard    *guard.Guard
	report   *report.Reporter
	log      *slog.Logger
	metrics  *metrics
	suspects *suspects
	booster  booster
	reader   *process.Reader
	resting  time.Time // until then no memory map is read again for a sample's sake
}

func newJudge(o Options, m *metrics) *judge {
	return &judge{
		Policy: &o.Policy, guard: o.Guard, report: o.Report, reader: o.Reader, log: o.Log,
		metrics: m, suspects: newSuspects(o.Thresholds), booster: booster{log: o.Log},
	}
}

// adopt judges by a policy from now on.
func (j *judge) adopt(p *Policy) {
	if p.Thresholds != j.Thresholds {
		j.suspects = newSuspects(p.Thresholds)
	}
	j.Policy = p
}

// see takes one sample and acts on what it amounts to with those before it.
func (j *judge) see(ctx context.Context, x sample) {
	s := j.suspects.find(x)
	where := rounding.OtherMemory
	if x.mode != 0 {
		where = j.locate(ctx, s, x)
		if s.boostable(x.at, j.Thresholds.Window) {
			j.booster.boost(ctx, x.cpu, time.Now().Add(boostStep))
		}
	}
	for _, f := range j.suspects.add(s, x, where) {
		// A process that lives on is told of once; one that is killed sends some
		// samples more.
		if f.decision.Rule > f.told {
			f.told = f.decision.Rule
			j.decide(ctx, f, x.at)
		}
	}
	j.metrics.suspects.Set(float64(len(j.suspects.processes)))
}

// sweep forgets what has left the window.
func (j *judge) sweep(now time.Duration) {
	j.suspects.sweep(now)
	j.metrics.suspects.Set(float64(len(j.suspects.processes)))
}

// locate says where in the process's memory an instruction lay.
func (j *judge) locate(ctx context.Context, s *suspect, x sample) rounding.Memory {
	where, believed := s.memory.at(x.ip), mapsAge
	if where == rounding.OtherMemory {
		believed = unknownAge
	}
	if s.mapped != 0 && (x.at-s.mapped < believed || time.Now().Before(j.resting)) {
		return where
	}
	h, err := s.key.open()
	if err != nil {
		return where
	}
	defer h.Close()
	began := time.Now()
	j.readMemory(ctx, s, h, x.at)
	j.resting = time.Now().Add(mapsRest * time.Since(began))
	return s.memory.at(x.ip)
}

// readMemory reads a process's memory map, or leaves the older one.
func (j *judge) readMemory(ctx context.Context, s *suspect, h *process.Handle, now time.Duration) {
	s.mapped = now
	var maps bytes.Buffer
	err := j.reader.Maps(ctx, h, "", func(m process.Mapping) error {
		fmt.Fprintf(&maps, "%x-%x %v 0 %x:%x %d %s\n", m.Start, m.End, m.Perms, unix.Major(m.Dev), unix.Minor(m.Dev), m.Inode, m.Path)
		return nil
	})
	switch {
	case err == nil:
		s.memory = parseMaps(maps.Bytes())
	case !errors.Is(err, process.ErrGone):
		j.metrics.unreadable.Inc()
	}
}
