package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cryptnono/cryptnono/internal/match"
)

func newCheckCommand() *cobra.Command {
	var s *settings
	cmd := &cobra.Command{
		Use:   "check [flags] -- PROGRAM [ARG...]",
		Short: "Say what would happen to a command, and by which rule",
		Long: `Say what would happen to a command, and by which rule. Nothing is run.

PROGRAM is the path as it would be executed; argv[0] is taken to be the same.
Exit status: 0 it would run, 3 it would be killed, 2 the question is wrong.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return statusError{exitUsage, errors.New("check: which PROGRAM?")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := s.policy()
			if err != nil {
				return err
			}
			for _, w := range p.Warnings {
				if _, err := fmt.Fprintf(cmd.ErrOrStderr(), "cryptnono: warning: %s\n", w); err != nil {
					return err
				}
			}
			v := p.Matcher.Judge([]byte(args[0]), match.Area(args))
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), explain(v)); err != nil {
				return err
			}
			if v.Outcome == match.Banned {
				return statusError{status: exitWouldDie}
			}
			return nil
		},
	}
	s = addSettings(cmd, "config", "rules", "builtin-rules", "action")
	return cmd
}

// explain says a verdict in a line.
func explain(v match.Verdict) string {
	if v.Outcome == match.NoMatch {
		return "it would run: no rule matches"
	}
	ban := fmt.Sprintf("%q (%s)", v.Ban.Text, v.Ban.Origin)
	switch v.Outcome {
	case match.Allowed:
		return fmt.Sprintf("it would run: spared from %s by %q (%s)", ban, v.Allow.Expr, v.Allow.Origin)
	case match.Observed:
		return fmt.Sprintf("it would run and be reported: observed by %s", ban)
	default:
		return fmt.Sprintf("it would be killed by %s", ban)
	}
}
