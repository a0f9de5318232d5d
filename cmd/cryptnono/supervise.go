package main

import (
	"errors"
	"log/slog"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/supervise"
)

func newSuperviseCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "supervise run [flags]",
		Short: "Run the agent, and start it again after a crash",
		Long: `Run "cryptnono run" with these flags as a child process, and start it again when it
crashes. It is for containers, where Kubernetes waits up to five minutes before it starts
an agent again that has crashed repeatedly. Signals are passed on.

An agent that ends six times within two seconds of its start is not started again. The
exit status is that of the last agent.`,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) > 0 && (args[0] == "--help" || args[0] == "-h"):
				return cmd.Help()
			case len(args) == 0 || args[0] != "run":
				return statusError{exitUsage, errors.New(`supervise: want "run" and its flags`)}
			}
			signal.Ignore(syscall.SIGPIPE)
			format := formatOf(args[1:])
			out := report.NewWriter(cmd.OutOrStdout(), format.handler) // which does not block
			reload := make(chan struct{}, 1)
			defer onHangup(reload)()
			s := supervise.Supervisor{
				Program: "/proc/self/exe", Args: append([]string{"cryptnono"}, args...),
				Log: format.logger(out, slog.LevelInfo), Hangup: reload, Cut: out.Cut,
			}
			status, err := s.Run(cmd.Context())
			_ = out.Close(logGrace) // the status is that of the agent
			if err == nil && status != exitOK {
				return statusError{status: status}
			}
			return err
		},
	}
}

// formatOf returns the format of the log among the flags of run, which run itself checks.
func formatOf(args []string) logFormat {
	format := jsonFormat
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	flags.Var(&format, "log-format", "")
	_ = flags.Parse(args)
	return format
}
