package report

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// lineBurst is how many lines of one message the parts of the agent log in a window.
const lineBurst = 30

// Lines bound the log lines of the parts of the agent, many of which strangers can
// cause, as that a process could not be read. Of each message so many are written in a
// minute; then one line says how many more there were. They are safe for concurrent use.
type Lines struct {
	out slog.Handler

	mu      sync.Mutex
	tallies map[message]*tally
}

// NewLines returns bounds of lines that go to log.
func NewLines(log *slog.Logger) *Lines {
	return &Lines{out: log.Handler(), tallies: make(map[message]*tally)}
}

// Logger returns the logger whose lines are bounded.
func (l *Lines) Logger() *slog.Logger { return slog.New(lineHandler{l.out, l}) }

// maxMessages is how many messages are told apart. All others count as one.
const maxMessages = 256

// A message is a line without its attributes, nearly always a constant.
type message struct {
	text  string
	level slog.Level
}

// admit counts a line, and says whether it is written.
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

// summarize forgets the windows that ended before a time, and writes how many lines
// were suppressed in them.
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

// A lineHandler hands on what its bounds admit.
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
