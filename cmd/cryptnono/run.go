package main

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/cryptnono/cryptnono/internal/agent"
	"github.com/cryptnono/cryptnono/internal/detectors"
	"github.com/cryptnono/cryptnono/internal/doctor"
	"github.com/cryptnono/cryptnono/internal/printable"
	"github.com/cryptnono/cryptnono/internal/report"
)

// logGrace is how long the last lines of the log may take at the end.
const logGrace = 400 * time.Millisecond

func newRunCommand() *cobra.Command {
	var s *settings
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Protect this machine until told to stop",
		Long: `Protect this machine: kill miners as they start, and those that run already.

It writes one JSON line a verdict, and one with "msg":"ready" when protection is
on. Settings and rules are read again when their files change, and at SIGHUP.
SIGTERM ends it and the protection.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			p, err := s.policy()
			if err != nil {
				return err
			}
			// A log that nobody reads any more ends no protection.
			signal.Ignore(syscall.SIGPIPE)
			out := report.NewWriter(cmd.OutOrStdout())
			defer func() { err = errors.Join(err, out.Close(logGrace)) }()
			reload := make(chan struct{}, 1)
			defer onHangup(reload)()
			a := &agent.Agent{
				Kinds:    detectors.All(),
				Policy:   p,
				Read:     s.policy,
				Files:    s.files(),
				Reload:   reload,
				Version:  version,
				Level:    new(slog.LevelVar),
				Verdicts: slog.New(slog.NewJSONHandler(out, nil)),
				Output:   out,
			}
			a.Level.Set(p.LogLevel)
			a.Log = newLogger(out, a.Level)
			defer redirectLog(a.Log)()
			if err := doctor.Start(a.Log); err != nil {
				return err
			}
			return doctor.Explain(a.Run(cmd.Context()))
		},
	}
	s = addSettings(cmd, "config", "rules", "builtin-rules", "action", "scan-interval", "listen", "log-level")
	return cmd
}

// onHangup puts a token into c at each SIGHUP, until the function that it returns
// is called.
func onHangup(c chan<- struct{}) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	var done sync.WaitGroup
	done.Go(func() {
		for range signals {
			select {
			case c <- struct{}{}:
			default: // one is asked for already
			}
		}
	})
	return func() {
		signal.Stop(signals)
		close(signals)
		done.Wait()
	}
}

// redirectLog has what the standard library logs, as of an answer that is no HTTP, go to
// log with level debug instead of standard error, where it would wait for whoever reads
// that. It returns what ends that.
func redirectLog(log *slog.Logger) (restore func()) {
	before, level := slog.Default(), slog.SetLogLoggerLevel(slog.LevelDebug)
	slog.SetDefault(log)
	return func() {
		slog.SetDefault(before)
		slog.SetLogLoggerLevel(level)
	}
}

func newLogger(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: visible}))
}

// errorLimit is the length in bytes of an error in the log.
const errorLimit = 8192

// visible makes errors and messages safe to print, whoever has chosen a part of their
// text. All other texts that strangers choose are made so by those who log them.
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
