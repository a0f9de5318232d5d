package main

import (
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/cryptnono/cryptnono/internal/agent"
	"github.com/cryptnono/cryptnono/internal/doctor"
)

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
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := s.policy()
			if err != nil {
				return err
			}
			reload := make(chan struct{}, 1)
			defer onHangup(reload)()
			a := &agent.Agent{
				Policy:   p,
				Read:     s.policy,
				Files:    s.files(),
				Reload:   reload,
				Version:  version,
				Level:    new(slog.LevelVar),
				Verdicts: newLogger(cmd.OutOrStdout(), slog.LevelInfo),
			}
			a.Level.Set(p.LogLevel)
			a.Log = newLogger(cmd.OutOrStdout(), a.Level)
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

func newLogger(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}
