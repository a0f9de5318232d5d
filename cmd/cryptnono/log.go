package main

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/cryptnono/cryptnono/internal/printable"
)

// logFormat is the form of the log lines, one of json and text. It implements pflag.Value.
type logFormat string

const (
	jsonFormat logFormat = "json"
	textFormat logFormat = "text"
)

func (f *logFormat) String() string { return string(*f) }
func (f *logFormat) Type() string   { return "FORMAT" }

func (f *logFormat) Set(text string) error {
	switch format := logFormat(text); format {
	case jsonFormat, textFormat:
		*f = format
		return nil
	}
	return fmt.Errorf("%q is neither %q nor %q", text, jsonFormat, textFormat)
}

// handler returns a handler that writes lines of this format.
func (f logFormat) handler(w io.Writer, o *slog.HandlerOptions) slog.Handler {
	if f == textFormat {
		return slog.NewTextHandler(w, o)
	}
	return slog.NewJSONHandler(w, o)
}

// verdicts returns a handler that writes lines of this format to out, and JSON to notifier.
func (f logFormat) verdicts(out, notifier io.Writer) slog.Handler {
	if f == jsonFormat {
		return f.handler(io.MultiWriter(out, notifier), nil) // encodes each only once
	}
	return slog.NewMultiHandler(f.handler(out, nil), jsonFormat.handler(notifier, nil))
}

// logger returns a logger for lines that are not verdicts.
func (f logFormat) logger(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(f.handler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: visible}))
}

// errorLimit is the maximum length in bytes of an error in the log.
const errorLimit = 8192

// visible escapes errors and messages, which can contain text from untrusted users. Such
// text in other attributes is escaped by the code that logs it.
func visible(groups []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindAny:
		if err, ok := a.Value.Any().(error); ok {
			return slog.String(a.Key, printable.Visible(err.Error(), errorLimit))
		}
	case slog.KindString:
		if a.Key == slog.MessageKey && len(groups) == 0 {
			return slog.String(a.Key, printable.Visible(a.Value.String(), errorLimit))
		}
	}
	return a
}
