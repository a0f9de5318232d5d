package report

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// lineBurst is the maximum number of lines with the same message in a window.
const lineBurst = 30

// Lines limits the log lines of the agent's components, because users can cause many, such
// as by processes that cannot be read. It writes lineBurst lines with the same message in
// a minute, and then one line with the number of the others. It is safe for concurrent
// use.
type Lines struct {
	out slog.Handler

	mu      sync.Mutex
	tallies map[message]*tally
}

// NewLines returns the limit of lines to log.
func NewLines(log *slog.Logger) *Lines {
	return &Lines{out: log.Handler(), tallies: make(map[message]*tally)}
}

// Logger returns a logger with this limit.
func (l *Lines) Logger() *slog.Logger { return slog.New(lineHandler{l.out, l}) }

// maxMessages is the number of different messages. All others count as one.
const maxMessages = 256

// A message is a line without its attributes, usually a constant.
type message struct {
	text  string
	level slog.Level
}

// admit counts a line, and reports whether it is written.
func (l *Lines) admit(now time.Time, m message) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tallies[m]
	if t == nil && len(l.tallies) >= maxMessages {
		m = message{"other messages", slog.LevelWarn}
		t = l.tallies[m]
	}
	if t == nil {
		t = &tally{began: now}
		l.tallies[m] = t
	}
	if t.lines == lineBurst {
		t.suppressed++
		return false
	}
	t.lines++
	return true
}

// summarize removes the windows that have ended, and writes the numbers of suppressed
// lines.
func (l *Lines) summarize(now time.Time) {
	ended := make(map[message]uint64)
	l.mu.Lock()
	for m, t := range l.tallies {
		if now.Sub(t.began) >= window {
			ended[m] = t.suppressed
			delete(l.tallies, m)
		}
	}
	l.mu.Unlock()
	for m, n := range ended {
		if n > 0 {
			slog.New(l.out).Log(context.Background(), m.level, "equal log lines suppressed", "of", m.text, "suppressed", n)
		}
	}
}

// A lineHandler passes on the lines that are within the limit.
type lineHandler struct {
	slog.Handler
	lines *Lines
}

// Handle implements slog.Handler.
func (h lineHandler) Handle(ctx context.Context, r slog.Record) error {
	if !h.lines.admit(r.Time, message{r.Message, r.Level}) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return lineHandler{h.Handler.WithAttrs(attrs), h.lines}
}

// WithGroup implements slog.Handler.
func (h lineHandler) WithGroup(name string) slog.Handler {
	return lineHandler{h.Handler.WithGroup(name), h.lines}
}
