package main

import (
	"errors"
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
	"github.com/cryptnono/cryptnono/internal/notify"
	"github.com/cryptnono/cryptnono/internal/report"
)

// logGrace is how long writing the last log lines may take at shutdown.
const logGrace = 400 * time.Millisecond

// notifyGrace is how long sending the last notifications may take at shutdown.
const notifyGrace = time.Second

func newRunCommand() *cobra.Command {
	var s *settings
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Protect this machine until SIGTERM or SIGINT",
		Long: `Protect this machine: kill miners when they start, and miners that are running.

Each verdict is one line on standard output, in JSON or with --log-format text for
people. The line with the msg "ready" means that protection is on. Settings and rules are read again when their files change, and
on SIGHUP. Without pins, protection ends when the process exits.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			reload := make(chan struct{}, 1)
			defer onHangup(reload)() // first: else a SIGHUP ends an agent that reads its rules
			read := func() (agent.Policy, error) { return s.read(agent.CompileGood) }
			p, err := read()
			if err != nil {
				return err
			}
			// A log without a reader must not end the agent.
			signal.Ignore(syscall.SIGPIPE)
			format := s.logFormat
			out := report.NewWriter(cmd.OutOrStdout(), format.handler)
			defer func() { err = errors.Join(err, out.Close(logGrace)) }()
			notifier := notify.New(version)
			defer notifier.Close(notifyGrace)
			a := &agent.Agent{
				Kinds:    detectors.All(),
				Policy:   p,
				Read:     read,
				Files:    s.files(),
				Reload:   reload,
				Version:  version,
				Level:    new(slog.LevelVar),
				Verdicts: slog.New(format.verdicts(out, notifier)),
				Notifier: notifier,
				Execs:    slog.New(format.handler(out.Spare(), &slog.HandlerOptions{Level: slog.LevelDebug})),
				Output:   out,
			}
			a.Level.Set(p.LogLevel)
			a.Log = format.logger(out, a.Level)
			defer redirectLog(a.Log)()
			if err := doctor.Start(a.Log); err != nil {
				_ = doctor.Report(cmd.ErrOrStderr(), doctor.AtStart()) // there may be no container later to run doctor in
				return err
			}
			return doctor.Explain(a.Run(cmd.Context()))
		},
	}
	s = addSettings(cmd, "config", "rules", "builtin-rules", "action", "scan-interval", "listen", "log-level", "log-format")
	return cmd
}

// onHangup sends to c on each SIGHUP until stop is called.
func onHangup(c chan<- struct{}) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	var done sync.WaitGroup
	done.Go(func() {
		for range signals {
			select {
			case c <- struct{}{}:
			default: // a reload is pending already
			}
		}
	})
	return func() {
		signal.Stop(signals)
		close(signals)
		done.Wait()
	}
}

// redirectLog sends the log lines of the standard library, such as for malformed HTTP, to
// log at level debug. On standard error they could block if the reader is slow. restore
// undoes this.
func redirectLog(log *slog.Logger) (restore func()) {
	before, level := slog.Default(), slog.SetLogLoggerLevel(slog.LevelDebug)
	slog.SetDefault(log)
	return func() {
		slog.SetDefault(before)
		slog.SetLogLoggerLevel(level)
	}
}
