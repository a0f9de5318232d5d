package main

import (
	"github.com/spf13/cobra"

	"github.com/cryptnono/cryptnono/internal/detector/execwhacker"
	"github.com/cryptnono/cryptnono/internal/rules"
)

func newScanCommand() *cobra.Command {
	var s *settings
	cmd := &cobra.Command{
		Use:   "scan",
		Short: "Look once at what is running",
		Long: `Look once at what is running, and report what the rules find. It is only
observed, whatever a settings file says, unless the flag --action kill is given.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			if !cmd.Flags().Changed("action") {
				c.Action = rules.Observe
			}
			matcher, err := compile(c)
			if err != nil {
				return err
			}
			return execwhacker.Scan(cmd.Context(), execwhacker.Options{
				Matcher: matcher,
				Report:  newReporter(cmd.OutOrStdout()),
				Log:     newLogger(cmd.ErrOrStderr(), c.LogLevel),
			})
		},
	}
	s = addSettings(cmd, "config", "rules", "builtin-rules", "action", "log-level")
	return cmd
}
