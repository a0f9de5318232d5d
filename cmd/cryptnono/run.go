package main

import (
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/cryptnono/cryptnono/internal/agent"
	"github.com/cryptnono/cryptnono/internal/doctor"
	"github.com/cryptnono/cryptnono/internal/report"
)

func newRunCommand() *cobra.Command {
	var s *settings
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Protect this machine until told to stop",
		Long: `Protect this machine: kill miners as they start, and those that run already.

It writes one JSON line a verdict, and one with "msg":"ready" when protection is
on. SIGTERM ends it and the protection.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			matcher, err := compile(c)
			if err != nil {
				return err
			}
			a := &agent.Agent{
				Config:  c,
				Matcher: matcher,
				Version: version,
				Log:     newLogger(cmd.OutOrStdout(), c.LogLevel),
				Report:  newReporter(cmd.OutOrStdout()),
			}
			return doctor.Explain(a.Run(cmd.Context()))
		},
	}
	s = addSettings(cmd, "config", "rules", "builtin-rules", "action", "scan-interval", "listen", "log-level")
	return cmd
}

func newLogger(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}

// newReporter returns a reporter that no log level silences.
func newReporter(w io.Writer) *report.Reporter {
	return report.New(newLogger(w, slog.LevelInfo))
}
