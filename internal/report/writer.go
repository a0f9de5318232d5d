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
	// maxQueued is the maximum size of queued lines in bytes. The same amount can be in a
	// write to the output.
	maxQueued = 2 << 20
	// keptQueue is the size of the largest buffer that is reused.
	keptQueue = 64 << 10
	// lossInterval is how long the line about lost lines waits for queued lines, lossRetry
	// the pause before it is retried.
	lossInterval, lossRetry = time.Minute, time.Second
	// writePause is the pause between two writes. Lines that are queued within it are written
	// together, because a wake-up for each would take longer than its JSON.
	writePause = 10 * time.Millisecond
)

// A Writer is the output of the agent's loggers. Write only queues lines; one goroutine
// writes them to the output, which can block or fail. So logging never blocks on a
// terminal, a pipe, a disk or a container runtime.
//
// A line is lost, and counted, if the queue is full or the output returns an error. After
// the next successful write, a line of the level WARN has the number of lost lines, as in JSON
// {"level":"WARN","msg":"log lines lost","lines":N}.
//
// It is safe for concurrent use. Lines are written in the order of the calls.
type Writer struct {
	out  io.Writer
	form Format
	wake chan struct{} // wakes the goroutine
	done chan struct{} // closed when the goroutine has ended

	mu       sync.Mutex
	queue    []byte // whole lines
	closed   bool
	cut      bool      // another process may have left the output in the middle of a line
	lost     uint64    // lines, since the start
	reported uint64    // lost lines that were reported in a line
	lostAt   time.Time // when the first unreported line was lost

	// Only for the goroutine.
	torn bool // the output ends in the middle of a line
	err  error
}

// A Format returns a handler that writes lines of a format, as [slog.NewJSONHandler] does.
type Format func(io.Writer, *slog.HandlerOptions) slog.Handler

// NewWriter returns a writer to out, which must not be used otherwise. It must be closed. Its own
// lines have the format form.
func NewWriter(out io.Writer, form Format) *Writer {
	w := &Writer{out: out, form: form, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go w.run()
	return w
}

// Write queues one or several lines with their newlines. It does not block and always
// succeeds.
func (w *Writer) Write(lines []byte) (int, error) { return w.enqueue(lines, maxQueued) }

// Cut says that another process, which has ended, may have left the output in the middle of a line: a newline
// is written before the next line.
func (w *Writer) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
}

// Spare returns a Writer for lines that give way to others: they only get half of the queue.
func (w *Writer) Spare() io.Writer { return spare{w} }

type spare struct{ w *Writer }

// Write implements io.Writer.
func (s spare) Write(lines []byte) (int, error) { return s.w.enqueue(lines, maxQueued/2) }

// enqueue queues lines if the queue then has at most limit bytes.
func (w *Writer) enqueue(lines []byte, limit int) (int, error) {
	w.mu.Lock()
	if w.closed || len(w.queue)+len(lines) > limit {
		w.lose(count(lines))
	} else {
		w.queue = append(w.queue, lines...)
	}
	w.mu.Unlock()
	w.wakeUp()
	return len(lines), nil
}

// lose counts lost lines. The caller holds w.mu.
func (w *Writer) lose(lines uint64) {
	if w.lost == w.reported {
		w.lostAt = time.Now()
	}
	w.lost += lines
}

// Lost returns the number of lost lines.
func (w *Writer) Lost() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost
}

// Collector returns the writer's metric.
func (w *Writer) Collector() prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "cryptnono_log_lines_lost_total",
		Help: "Log lines that were lost because the output did not accept them, or not in time.",
	}, func() float64 { return float64(w.Lost()) })
}

// Close writes the queued lines, within the time wait. It returns the error of the output,
// or an error if the output blocks longer; the goroutine then continues to block. Lines
// that are written after Close are lost.
func (w *Writer) Close(wait time.Duration) error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.wakeUp()
	select {
	case <-w.done:
	case <-time.After(wait):
		return errors.New("the last log lines are lost: the output blocks")
	}
	if w.err != nil {
		return fmt.Errorf("writing the log: %w", w.err)
	}
	return nil
}

func (w *Writer) wakeUp() {
	select {
	case w.wake <- struct{}{}:
	default: // already woken
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
		w.torn = w.torn || w.cut
		w.cut = false
		w.mu.Unlock()
		if lost := w.put(batch); lost > 0 {
			w.mu.Lock()
			w.lose(lost)
			w.mu.Unlock()
		}
		if cap(batch) <= keptQueue {
			spare = batch
		}
		if w.reportLost() {
			retry.Reset(lossRetry)
		}
		if closed {
			return
		}
		time.Sleep(writePause)
	}
}

// put writes lines to the output, and returns the number of lines that were not written
// completely.
func (w *Writer) put(lines []byte) (lost uint64) {
	if len(lines) == 0 {
		return 0
	}
	if w.torn { // end the incomplete line
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

// reportLost writes a line about lost lines, after the queued ones unless that takes longer
// than lossInterval. It returns whether lost lines are still unreported.
func (w *Writer) reportLost() (more bool) {
	w.mu.Lock()
	lost, wait := w.lost-w.reported, len(w.queue) > 0 && time.Since(w.lostAt) < lossInterval
	w.mu.Unlock()
	if lost == 0 || wait {
		return lost > 0
	}
	var line bytes.Buffer
	slog.New(w.form(&line, nil)).WarnContext(context.Background(), "log lines lost", "lines", lost)
	if w.put(line.Bytes()) > 0 {
		return true
	}
	w.mu.Lock()
	w.reported += lost
	w.lostAt = time.Now()
	w.mu.Unlock()
	return false
}

// count returns the number of lines. An incomplete line at the end counts as one.
func count(lines []byte) uint64 {
	n := bytes.Count(lines, []byte{'\n'})
	if len(lines) > 0 && lines[len(lines)-1] != '\n' {
		n++
	}
	return uint64(n)
}
