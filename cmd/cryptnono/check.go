package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cryptnono/cryptnono/internal/match"
)

func newCheckCommand() *cobra.Command {
	var s *settings
	cmd := &cobra.Command{
		Use:   "check [flags] -- PROGRAM [ARG...]\n  cryptnono check [flags] -",
		Short: "Say what would happen to a command, and by which rule",
		Long: `Say what would happen to a command, and by which rule. Nothing is run.

PROGRAM is the path as it would be executed; argv[0] is taken to be the same. With
"-", PROGRAM and ARGs come from standard input, one a line, or each ended by a NUL as
in /proc/PID/cmdline: so the command line of sudo or of check itself does not hold
what an agent on this machine would kill it for.

Exit status: 0 it would run, 3 it would be killed, 2 the question is wrong.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return statusError{exitUsage, errors.New("check: which PROGRAM?")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] == "-" {
				var err error
				if args, err = readCommand(cmd.InOrStdin()); err != nil {
					return statusError{exitUsage, fmt.Errorf("check: %w", err)}
				}
			}
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

// maxCommand is beyond what the kernel lets a program have as arguments.
const maxCommand = 8 << 20

// readCommand reads a program and its arguments, each on a line of its own or, if
// there is a NUL, each ended by one.
func readCommand(r io.Reader) ([]string, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxCommand+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading standard input: %w", err)
	case len(text) > maxCommand:
		return nil, fmt.Errorf("standard input has more than %d MiB", maxCommand>>20)
	case len(text) == 0 || text[0] == '\n' || text[0] == 0:
		return nil, errors.New("which PROGRAM? Standard input begins with none")
	}
	end := "\n"
	if bytes.IndexByte(text, 0) >= 0 {
		end = "\x00"
	}
	return strings.Split(strings.TrimSuffix(string(text), end), end), nil
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
