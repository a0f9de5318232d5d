// Command cryptnono kills cryptocurrency miners on Linux.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/cryptnono/cryptnono/internal/procread"
)

// version is set when the program is built (see the Makefile).
var version = "dev"

// Exit statuses of all subcommands. Scripts rely on them: docs/cli.md.
const (
	exitOK        = 0
	exitFailed    = 1 // any other failure
	exitUsage     = 2 // bad flags, settings or rules
	exitWouldKill = 3 // check: the command would be killed
)

// A statusError ends the program with an exit status other than exitFailed.
type statusError struct {
	status int
	err    error // nil if there is nothing to print
}

func (e statusError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e statusError) Unwrap() error { return e.err }

// grace is the maximum time for an orderly shutdown on a signal. After that the process
// exits, and the kernel detaches its BPF programs.
const grace = 3 * time.Second

func main() {
	procread.ServeIfChild()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	disarm := context.AfterFunc(ctx, func() { time.AfterFunc(grace, func() { os.Exit(exitFailed) }) })
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	disarm()
	stop()
	os.Exit(status)
}

// run runs the program and returns its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cmd := newRootCommand()
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if text := err.Error(); text != "" {
		_, _ = fmt.Fprintf(stderr, "cryptnono: %s\n", text)
	}
	if s, ok := errors.AsType[statusError](err); ok {
		return s.status
	}
	return exitFailed
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "cryptnono",
		Short:         "Kill cryptocurrency miners when they start",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return statusError{exitUsage, err} })
	root.AddCommand(newViewCommands()...)
	root.AddCommand(newRunCommand(), newSuperviseCommand(), newCheckCommand(), newScanCommand(), newDoctorCommand(), newLearnedCommand(), newNotifyCommand(), newUnpinCommand(), newVersionCommand())
	return root
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "cryptnono", version)
			return err
		},
	}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if err := cobra.NoArgs(cmd, args); err != nil {
		return statusError{exitUsage, err}
	}
	return nil
}
