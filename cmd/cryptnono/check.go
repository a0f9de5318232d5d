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
		Short: "Show whether a command would be killed, and by which rule",
		Long: `Show whether a command would be killed, and by which rule. Nothing is run.

PROGRAM is the path as it would be executed; argv[0] is assumed to be the same. With
"-", PROGRAM and ARGs are read from standard input, one per line, or each terminated
by a NUL as in /proc/PID/cmdline. On a protected machine use "-": an agent kills sudo,
and any other copy of this program, if a banned string is on its command line.

Exit status: 0 the command would run, 3 it would be killed, 2 usage error.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return statusError{exitUsage, errors.New("check: missing PROGRAM argument")}
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
				return statusError{status: exitWouldKill}
			}
			return nil
		},
	}
	s = addSettings(cmd, "config", "rules", "builtin-rules", "action")
	return cmd
}

// maxCommand is above the kernel's limit for the arguments of a program, in bytes.
const maxCommand = 8 << 20

// readCommand reads a program and its arguments, one per line or, if the input contains
// a NUL, each terminated by a NUL.
func readCommand(r io.Reader) ([]string, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxCommand+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading standard input: %w", err)
	case len(text) > maxCommand:
		return nil, fmt.Errorf("standard input has more than %d MiB", maxCommand>>20)
	case len(text) == 0 || text[0] == '\n' || text[0] == 0:
		return nil, errors.New("missing PROGRAM: the first line of standard input is empty")
	}
	end := "\n"
	if bytes.IndexByte(text, 0) >= 0 {
		end = "\x00"
	}
	return strings.Split(strings.TrimSuffix(string(text), end), end), nil
}

// explain returns a verdict as one line of text.
func explain(v match.Verdict) string {
	if v.Outcome == match.NoMatch {
		return "would run: no rule matches"
	}
	ban := fmt.Sprintf("%q (%s)", v.Ban.Text, v.Ban.Origin)
	switch v.Outcome {
	case match.Allowed:
		return fmt.Sprintf("would run: matches %s, but is allowed by %q (%s)", ban, v.Allow.Expr, v.Allow.Origin)
	case match.Observed:
		return fmt.Sprintf("would run and be logged: matches %s, whose action is observe", ban)
	default:
		return fmt.Sprintf("would be killed: matches %s", ban)
	}
}
