package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/cryptnono/cryptnono/internal/detector/hashwork/learned"
)

func newLearnedCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "learned",
		Short: "List or forget the program files that hashwork kills at their start",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	socket := cmd.PersistentFlags().String("socket", learned.Socket, "socket of the agent")
	cmd.AddCommand(newLearnedListCommand(socket), newLearnedForgetCommand(socket))
	return cmd
}

func newLearnedListCommand(socket *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the learned files of the running agent, as root",
		Args:  noArgs,
	}
	asJSON := cmd.Flags().Bool("json", false, "print a JSON object for each file")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		files, err := learned.List(cmd.Context(), *socket)
		if err != nil {
			return fmt.Errorf("learned list: %w", err)
		}
		return printLearned(cmd.OutOrStdout(), files, *asJSON)
	}
	return cmd
}

func newLearnedForgetCommand(socket *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "forget ID|PATH",
		Short: "Make the running agent forget learned files, as root",
		Long: `Make the running agent forget the learned file with an ID or those with a PATH, as
list shows them, or with --all every file. A miner is killed and learned again when it has
computed for some seconds.`,
	}
	all := cmd.Flags().Bool("all", false, "forget all files")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *all != (len(args) == 0) || len(args) > 1 {
			return statusError{exitUsage, errors.New("learned forget: give one ID, one PATH or --all")}
		}
		return forget(cmd.Context(), cmd.OutOrStdout(), *socket, args)
	}
	return cmd
}

// forget forgets the file that an argument names, or all files without one.
func forget(ctx context.Context, out io.Writer, socket string, args []string) error {
	s := learned.Selection{All: len(args) == 0}
	if !s.All {
		if id, err := strconv.ParseUint(args[0], 10, 64); err == nil {
			s.ID = id
		} else {
			s.Path = args[0]
		}
	}
	files, err := learned.Forget(ctx, socket, s)
	if err != nil {
		return fmt.Errorf("learned forget: %w", err)
	}
	if len(files) == 0 {
		if s.All {
			_, err = fmt.Fprintln(out, "no learned files")
			return err
		}
		return fmt.Errorf("learned forget: no learned file is %s", args[0])
	}
	for _, f := range files {
		if _, err := fmt.Fprintf(out, "forgot %d: %s\n", f.ID, f.Path); err != nil {
			return err
		}
	}
	return nil
}

func printLearned(out io.Writer, files []learned.File, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		for _, f := range files {
			if err := e.Encode(f); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tLEARNED\tSTARTS\tEXPIRES\tUID\tFILE\tCGROUP")
	for _, f := range files {
		fmt.Fprintf(t, "%d\t%s\t%d\t%s\t%d\t%s\t%s\n", f.ID, f.Learned.Local().Format(time.DateTime), f.Hits,
			f.Expires.Local().Format(time.DateTime), f.UID, f.Path, f.Cgroup)
	}
	return t.Flush()
}
