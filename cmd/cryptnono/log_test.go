package main

import (
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestLinesHaveTheFormatThatTheFlagSays(t *testing.T) {
	for flag, want := range map[string]string{
		"json": `"msg":"killed a process","action":"killed","cmdline":"xmrig \"a\"\nb","labels":{"app":"hub"}}`,
		"text": `msg="killed a process" action=killed cmdline="xmrig \"a\"\nb" labels=map[app:hub]`,
	} {
		format := jsonFormat
		if err := format.Set(flag); err != nil {
			t.Fatal(err)
		}
		var out, notified strings.Builder
		slog.New(format.verdicts(&out, &notified)).Info("killed a process", "action", "killed", "cmdline", "xmrig \"a\"\nb", "labels", map[string]string{"app": "hub"})
		if got := out.String(); !strings.HasSuffix(got, want+"\n") || strings.Count(got, "\n") != 1 {
			t.Errorf("%s: %q does not end in %q", flag, got, want)
		}
		if !json.Valid([]byte(notified.String())) {
			t.Errorf("%s: a receiver gets %q", flag, notified.String())
		}
		out.Reset()
		format.logger(&out, slog.LevelInfo).Info("of\x1b[31m a user", "err", errors.New("two\nlines"))
		if got := out.String(); strings.Contains(got, "\x1b") || strings.Count(got, "\n") != 1 {
			t.Errorf("%s: a user writes %q", flag, got)
		}
	}
}

func TestTheSupervisorLogsAsTheAgent(t *testing.T) {
	for args, want := range map[string]logFormat{
		"":                  jsonFormat,
		"--log-format text": textFormat,
		"--rules x --unknown=y --log-format=text": textFormat,
		"--log-format xml":                        jsonFormat, // run refuses it
		"--log-level debug --log-format json":     jsonFormat,
		"--log-format":                            jsonFormat,
	} {
		if got := formatOf(strings.Fields(args)); got != want {
			t.Errorf("%q: got %s, want %s", args, got, want)
		}
	}
}
