package main

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/cryptnono/cryptnono/internal/agent"
	"github.com/cryptnono/cryptnono/internal/detectors"
	"github.com/cryptnono/cryptnono/internal/doctor"
	"github.com/cryptnono/cryptnono/internal/rules"
)

func newScanCommand() *cobra.Command {
	var s *settings
	cmd := &cobra.Command{
		Use:   "scan",
		Short: "Check all running processes once",
		Long: `Check all running processes once and report those that match a rule. Only the
flag --action kill kills them; the action in the settings file is ignored. If none
matches, standard error says so.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			if !cmd.Flags().Changed("action") {
				c.Action = rules.Observe
			}
			p, err := compile(c)
			if err != nil {
				return err
			}
			out := &counter{w: cmd.OutOrStdout()}
			a := &agent.Agent{
				Kinds:    detectors.All(),
				Policy:   p,
				Log:      s.logFormat.logger(cmd.ErrOrStderr(), c.LogLevel),
				Verdicts: s.logFormat.logger(out, slog.LevelInfo),
			}
			if c.Action == rules.Kill {
				if err := doctor.Start(a.Log); err != nil {
					return err
				}
			}
			err = a.Scan(cmd.Context())
			if err == nil && out.bytes == 0 {
				_, err = fmt.Fprintln(cmd.ErrOrStderr(), "no running process matches a rule")
			}
			return doctor.Explain(err)
		},
	}
	s = addSettings(cmd, "config", "rules", "builtin-rules", "action", "log-level", "log-format")
	cmd.Flags().Lookup("action").DefValue = string(rules.Observe)
	return cmd
}

// A counter counts the bytes that are written to w.
type counter struct {
	w     io.Writer
	bytes int64
}

func (c *counter) Write(text []byte) (int, error) {
	n, err := c.w.Write(text)
	c.bytes += int64(n)
	return n, err
}
