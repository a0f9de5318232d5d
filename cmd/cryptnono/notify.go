package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/cryptnono/cryptnono/internal/notify"
)

func newNotifyCommand() *cobra.Command {
	var s *settings
	cmd := &cobra.Command{
		Use:   "notify --config FILE [RECEIVER...]",
		Short: "Send a test message to the receivers of notifications",
		Long: `Send a test message, whose action is "test", to each receiver in the settings or to
those with these names. Each is tried once.`,
		RunE: func(cmd *cobra.Command, names []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			receivers, err := named(c.Receivers, names)
			if err != nil {
				return statusError{exitUsage, fmt.Errorf("notify: %w", err)}
			}
			out := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			failed := 0
			for _, r := range receivers {
				err := notify.Test(cmd.Context(), r, version, c.NodeName)
				if err != nil {
					failed++
				}
				printTested(out, r.Name, err)
			}
			if err := out.Flush(); err != nil {
				return err
			}
			if failed > 0 {
				return fmt.Errorf("notify: %d of %d receivers did not accept the message", failed, len(receivers))
			}
			return nil
		},
	}
	s = addSettings(cmd, "config")
	return cmd
}

// named returns the receivers with these names, or all for none.
func named(all []notify.Receiver, names []string) ([]notify.Receiver, error) {
	if len(names) == 0 {
		if len(all) == 0 {
			return nil, errors.New("the settings have no notify.receivers")
		}
		return all, nil
	}
	var found []notify.Receiver
	for _, name := range names {
		i := slices.IndexFunc(all, func(r notify.Receiver) bool { return r.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("the settings have no receiver %q", name)
		}
		found = append(found, all[i])
	}
	return found, nil
}

func printTested(w io.Writer, name string, err error) {
	if err != nil {
		_, _ = fmt.Fprintf(w, "FAIL\t%s\t%v\n", name, err)
		return
	}
	_, _ = fmt.Fprintf(w, "ok\t%s\n", name)
}
