package report

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// maxQueued is how many bytes of log lines wait while the output accepts none.
	// As many may be on their way into the output besides.
	maxQueued = 2 << 20
	// keptQueue is the largest buffer that is kept for the next lines.
	keptQueue = 64 << 10
	// lossInterval is how long a line about lost lines waits for its turn, behind
	// those that are queued, and lossRetry the time until it is tried again.
	lossInterval, lossRetry = time.Minute, time.Second
)

// A Writer is the output of the agent's loggers. Write only queues a line; one
// goroutine writes the queue to the output, which may block or fail. So no caller
// ever waits for a terminal, a pipe, a disk or a container runtime.
//
// A line that the queue has no room for, or that the output refuses, is lost and
// counted. After the next lines that could be written, a line tells how many were
// lost: {"level":"WARN","msg":"log lines lost","lines":N}.
//
// It is safe for concurrent use. Lines are written in the order of the calls.
type Writer struct {
	out  io.Writer
	wake chan struct{} // holds a token when there is something to do
	done chan struct{} // closed when the goroutine has ended

	mu     sync.Mutex
	queue  []byte // whole lines
	closed bool
	lost   uint64    // lines, since the start
	told   uint64    // of them, those that a line has told of
	lostAt time.Time // when the first was lost that no line has told of

	// Of the goroutine alone.
	torn bool // the output ends in the middle of a line
	err  error
}

// NewWriter returns a writer to out, which must not be used by others. It is to be
// closed.
func NewWriter(out io.Writer) *Writer {
	w := &Writer{out: out, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go w.run()
	return w
}

// Write queues one line, or several, with their newlines. It never waits, and
// always succeeds: what is lost is counted.
func (w *Writer) Write(lines []byte) (int, error) {
	w.mu.Lock()
	if w.closed || len(w.queue)+len(lines) > maxQueued {
		w.lose(count(lines))
	} else {
		w.queue = append(w.queue, lines...)
	}
	w.mu.Unlock()
	w.wakeUp()
	return len(lines), nil
}

// lose counts lost lines. The caller holds the lock.
func (w *Writer) lose(lines uint64) {
	if w.lost == w.told {
		w.lostAt = time.Now()
	}
	w.lost += lines
}

// Lost returns the number of lines that were lost so far.
func (w *Writer) Lost() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost
}

// Collector returns the writer's metric.
func (w *Writer) Collector() prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "cryptnono_log_lines_lost_total",
		Help: "Lines of the log that could not be written because the output did not accept them, or not in time.",
	}, func() float64 { return float64(w.Lost()) })
}

// Close writes what is queued, for the given time at most. The error is that of the
// output, or says that the output did not accept the last lines in time; then the
// goroutine is left behind with them. Lines that are written later are lost.
func (w *Writer) Close(wait time.Duration) error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.wakeUp()
	select {
	case <-w.done:
	case <-time.After(wait):
		return errors.New("the last log lines are lost: the output does not accept them")
	}
	if w.err != nil {
		return fmt.Errorf("writing the log: %w", w.err)
	}
	return nil
}

func (w *Writer) wakeUp() {
	select {
	case w.wake <- struct{}{}:
	default: // it is known already
	}
}

func (w *Writer) run() {
	defer close(w.done)
	var spare []byte
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-w.wake:
		case <-retry.C:
		}
		w.mu.Lock()
		batch := w.queue
		w.queue, spare = spare[:0], nil
		closed := w.closed
		w.mu.Unlock()
		if lost := w.put(batch); lost > 0 {
			w.mu.Lock()
			w.lose(lost)
			w.mu.Unlock()
		}
		if cap(batch) <= keptQueue {
			spare = batch
		}
		if w.tell() {
			retry.Reset(lossRetry)
		}
		if closed {
			return
		}
	}
}

// put writes lines to the output, and returns how many of them it did not accept as
// a whole.
func (w *Writer) put(lines []byte) (lost uint64) {
	if len(lines) == 0 {
		return 0
	}
	if w.torn { // so that what follows is no part of the line that was cut
		if _, w.err = w.out.Write([]byte{'\n'}); w.err != nil {
			return count(lines)
		}
		w.torn = false
	}
	var n int
	n, w.err = w.out.Write(lines)
	w.torn = n > 0 && n < len(lines) && lines[n-1] != '\n'
	return count(lines[n:])
}

// tell writes a line about lines that were lost, after those that wait, unless that
// takes too long. It reports whether some are still to be told of.
func (w *Writer) tell() (more bool) {
	w.mu.Lock()
	lost, wait := w.lost-w.told, len(w.queue) > 0 && time.Since(w.lostAt) < lossInterval
	w.mu.Unlock()
	if lost == 0 || wait {
		return lost > 0
	}
	var line bytes.Buffer
	slog.New(slog.NewJSONHandler(&line, nil)).WarnContext(context.Background(), "log lines lost", "lines", lost)
	if w.put(line.Bytes()) > 0 {
		return true
	}
	w.mu.Lock()
	w.told += lost
	w.lostAt = time.Now()
	w.mu.Unlock()
	return false
}

// count returns the number of lines; one that is cut at the end is one as well.
func count(lines []byte) uint64 {
	n := bytes.Count(lines, []byte{'\n'})
	if len(lines) > 0 && lines[len(lines)-1] != '\n' {
		n++
	}
	return uint64(n)
}
