package hashwork

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/detector/hashwork/learned"
	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

const (
	learnedSource = "exec"
	learnedRule   = "learned"
)

// A learnedExec is an exec of a learned file.
type learnedExec struct {
	verdict.Event
	real   process.FileID
	number uint64
	began  time.Duration // monotonic
	path   string        // as executed, "" if it is too long
}

func (l *learner) decode(b []byte) (learnedExec, error) {
	e, _, err := verdict.DecodeEvent(b, int(unsafe.Offsetof(learnedEvent{}.Text)), l.Inventory.Paths())
	if err != nil {
		return learnedExec{}, err
	}
	const at, size = unsafe.Offsetof(learnedEvent{}.Path), unsafe.Sizeof(learnedEvent{}.Path)
	path, _, _ := bytes.Cut(b[at:at+size], []byte{0})
	word := func(at uintptr) uint64 { return binary.NativeEndian.Uint64(b[at:]) }
	return learnedExec{
		e, process.DecodeFileID(b[unsafe.Offsetof(learnedEvent{}.Real):]), word(unsafe.Offsetof(learnedEvent{}.Number)),
		time.Duration(word(unsafe.Offsetof(learnedEvent{}.BeganNs))), string(path),
	}, nil
}

// run logs what the kernel did and decides what it left open, serves the socket, and forgets files
// that have expired, until ctx ends.
func (l *learner) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		<-ctx.Done()
		return l.events.Flush() // so that pending events are still logged
	})
	g.Go(func() error {
		pending := verdict.NewPending(l.Judge, nil)
		defer pending.Wait()
		loop := l.Health.Loop(Name+" learned", health.DefaultLimit)
		defer loop.End()
		return loop.Retry(ctx, func() error { return l.readEvents(ctx, loop, pending) })
	})
	g.Go(func() error { return l.expire(ctx) })
	g.Go(func() error { l.serve(ctx); return nil })
	g.Go(func() error { l.endFormers(ctx); return nil })
	g.Go(func() error { l.kept.Watch(ctx, l.Log, l.counters); return nil })
	return g.Wait()
}

func (l *learner) readEvents(ctx context.Context, loop *health.Loop, pending *verdict.Pending) error {
	var record ringbuf.Record
	for {
		loop.Idle()
		err := l.events.ReadInto(&record)
		if errors.Is(err, ringbuf.ErrFlushed) || errors.Is(err, ringbuf.ErrClosed) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading execs of learned files: %w", err)
		}
		loop.Progress()
		if err := l.handle(ctx, record.RawSample, pending); err != nil {
			loop.Failed(err)
		}
	}
}

// handle logs what the kernel did, or has pending decide what it left open.
func (l *learner) handle(ctx context.Context, record []byte, pending *verdict.Pending) error {
	e, err := l.decode(record)
	if err != nil {
		return err
	}
	line := l.newLine(e)
	if !l.Judge.ReportKernel(e.Event, e.path, line) {
		pending.Resolve(ctx, e.Event, e.path, line, &l.tally, func(line report.Verdict) { l.kill(ctx, e, line) })
	}
	return nil
}

// newLine returns the log line. docs/hashwork.md lists the keys.
func (l *learner) newLine(e learnedExec) report.Verdict {
	line := report.Verdict{
		Detector: Name, Source: learnedSource, Rule: Name + " " + learnedRule,
		Program: report.Program([]byte(e.path)), After: e.Took,
	}
	about := []slog.Attr{slog.Uint64("id", e.number)}
	if f, ok := l.files.find(e.real, e.number); ok { // it was not forgotten meanwhile
		about = append(about,
			slog.Time("time", f.about.Learned),
			slog.Int("pid", f.about.PID),
			slog.String("file", f.about.Path))
	}
	line.Details = append(l.late(e), slog.GroupAttrs("learned", about...))
	return line
}

// kill decides what the kernel left open: the container was unknown, the kill failed, or there are
// allow patterns. While the arguments cannot be read, it tries again, as often as waits allows. Few of an owner do
// so, as each keeps its place in a verdict.Pending.
func (l *learner) kill(ctx context.Context, e learnedExec, line report.Verdict) {
	began := time.Now()
	var err error
	for try := range maxWaits + 1 {
		its := line
		its.After += time.Since(began)
		if err = l.decide(ctx, e, its); !errors.Is(err, procread.ErrStuck) {
			break
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second << try): // 3 s together
		}
	}
	if err != nil && !errors.Is(err, process.ErrGone) && ctx.Err() == nil {
		l.Log.Warn("exec of a learned file not decided", "detector", Name, "pid", e.PID, "err", err)
	}
}

// errOther means that the process executes another file now, or that the file was forgotten.
var errOther = fmt.Errorf("it executes another file: %w", process.ErrGone)

func (l *learner) decide(ctx context.Context, e learnedExec, line report.Verdict) error {
	began := time.Now()
	h, err := e.Open()
	if err != nil {
		return err
	}
	defer h.Close()
	if h.Protected() != nil {
		return nil
	}
	info, err := l.Judge.Reader.Read(ctx, h, e.Cgroup.Owner)
	p := l.current()
	if err = l.waits.unread(ctx, l.Judge, err, e.Event.Event, p.allows()); err != nil {
		return err
	}
	line.Cmdline = report.Cmdline(info.Args, 0)
	line.After += time.Since(began)
	suspect := verdict.Suspect{
		Event: e.Event.Event, Handle: h, Programs: []string{e.path}, Observe: !p.kills(), LogEnv: p.LogEnv, Line: line,
		Confirm: func() error {
			known, ok := l.files.find(e.real, e.number)
			if now, err := l.identify(e.PID); err != nil || !ok || now.content != known.content {
				return errors.Join(errOther, err)
			}
			return nil
		},
	}
	if allow := p.Matcher.Allowed([]byte(info.Program), info.Args); allow != nil {
		suspect.AllowedBy = allow.Origin.String()
	}
	_, err = l.Judge.Decide(ctx, suspect, &l.tally)
	return err
}

// expire forgets what has expired, each refreshInterval.
func (l *learner) expire(ctx context.Context) error {
	loop := l.Health.Loop(Name+" expiry", health.DefaultLimit)
	defer loop.End()
	return loop.Retry(ctx, func() error {
		for {
			loop.Idle()
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(refreshInterval):
			}
			loop.Progress()
			if err := l.files.sweep(process.Monotonic()); err != nil {
				return err
			}
		}
	})
}

// serve answers `cryptnono learned`. Without a directory for the socket, as in a container without
// one, the files are not listed.
func (l *learner) serve(ctx context.Context) {
	for ctx.Err() == nil {
		s, err := learned.Listen(l.socket, l.files)
		if err != nil {
			l.Log.Info("learned files cannot be listed", "detector", Name, "err", err)
			return
		}
		if err := s.Serve(ctx); err != nil {
			l.Log.Warn("learned files cannot be listed for a moment", "detector", Name, "err", err)
			time.Sleep(time.Second)
		}
	}
}

// collect sends the metrics. It returns the verdicts, and the number of lost events.
func (l *learner) collect(ch chan<- prometheus.Metric) (verdict.Counts, uint64) {
	now, ever := l.files.counts()
	ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(prefix+"learned_files",
		"Program files whose next start is a kill, because the rule program has found them.", nil, nil), prometheus.GaugeValue, float64(now))
	ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(prefix+"learned_files_total",
		"Program files that were learned.", nil, nil), prometheus.CounterValue, float64(ever))
	c, err := l.counters()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(prometheus.NewDesc(prefix+"learned_execs", "", nil, nil), err)
		return l.tally.Counts(), 0
	}
	return c.Verdicts().Plus(l.tally.Counts()), c.LostEvents()
}
