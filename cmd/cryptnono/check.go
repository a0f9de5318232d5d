package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cryptnono/cryptnono/internal/agent"
	"github.com/cryptnono/cryptnono/internal/commands"
	"github.com/cryptnono/cryptnono/internal/detectors"
	"github.com/cryptnono/cryptnono/internal/match"
)

func newCheckCommand() *cobra.Command {
	var s *settings
	var o checkOptions
	asked := make(map[string]*string) // by flag of a detector
	isAsked := func() bool {
		for _, value := range asked {
			if *value != "" {
				return true
			}
		}
		return false
	}
	cmd := &cobra.Command{
		Use:   "check [flags] -- PROGRAM [ARG...]\n  cryptnono check [flags] -\n  cryptnono check [flags] --commands FILE\n  cryptnono check {--config FILE|--rules PATH}...",
		Short: "Show whether commands would be killed, and by which rule",
		Long: `Show whether commands would be killed, and by which rule. Nothing is run.

PROGRAM is the path as it would be executed; argv[0] is assumed to be the same. With
"-", PROGRAM and ARGs are read from standard input, one per line, or each terminated
by a NUL as in /proc/PID/cmdline. On a protected machine use "-" or --commands: an
agent kills sudo, and any other copy of this program, if a banned string is on its
command line.

With --commands, each line of FILE is a command: a line of the agent's log, a JSON
object with argv, a JSON array of arguments, or a plain line. The commands that match a
rule are printed, and a summary. With --against, those are printed whose verdict changes
from other rules to these.

Without PROGRAM, only the settings of --config and the rules of --rules are checked.

Exit status: 0 the command would run, 3 it would be killed, 2 usage error, 1 other error. With
--commands: 0 all would run, 3 at least one would be killed, 2 a line is not a command.`,
		Args: func(_ *cobra.Command, args []string) error { return o.checkArgs(args, isAsked()) },
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && o.commands == "" {
				return checkDetectors(cmd, s, asked)
			}
			if len(args) == 1 && args[0] == "-" {
				var err error
				if args, err = readCommand(cmd.InOrStdin()); err != nil {
					return statusError{exitUsage, fmt.Errorf("check: %w", err)}
				}
				if len(args) == 1 && strings.Contains(args[0], " ") {
					err = warn(cmd, "the one line is the path of the program, spaces included; to check a command on one line use --commands -")
					if err != nil {
						return err
					}
				}
			}
			p, err := s.policy()
			if err != nil {
				return err
			}
			for _, w := range p.Warnings {
				if err := warn(cmd, w); err != nil {
					return err
				}
			}
			if o.commands != "" {
				return checkCommands(cmd, o, p)
			}
			return checkCommand(cmd, args, p)
		},
	}
	s = addSettings(cmd, "config", "rules", "builtin-rules", "action")
	f := cmd.Flags()
	f.StringVar(&o.commands, "commands", "", "check each line of `FILE`; - is standard input")
	f.BoolVar(&o.json, "json", false, "with --commands, print a JSON object for each line, and one for the summary")
	f.StringArrayVar(&o.against, "against", nil, "with --commands, compare with the rules in `PATH`, a file or directory; can be repeated")
	f.Var(&o.againstBuiltin, "against-builtin-rules", "compare with these built-in rules, `WHICH` as for --builtin-rules (default as there)")
	o.set = f
	var questions []string
	for _, k := range detectors.All() {
		for _, c := range k.Checks {
			asked[c.Name] = cmd.Flags().String(c.Name, "", strings.Replace(c.Help, c.Value, "`"+c.Value+"`", 1))
			questions = append(questions, "--"+c.Name+" "+c.Value)
		}
	}
	cmd.Use += "\n  cryptnono check [flags] {" + strings.Join(questions, "|") + "}"
	return cmd
}

// checkOptions are the flags for many commands.
type checkOptions struct {
	commands       string
	json           bool
	against        []string
	againstBuiltin builtinFlag
	set            *pflag.FlagSet
}

// compares reports whether the rules are compared with others.
func (o *checkOptions) compares() bool {
	return o.set.Changed("against") || o.set.Changed("against-builtin-rules")
}

func (o *checkOptions) checkArgs(args []string, others bool) error {
	var err error
	switch many := o.set.Changed("commands"); {
	case many && o.commands == "":
		err = errors.New("check: missing FILE of --commands")
	case many && len(args) > 0:
		err = errors.New("check: PROGRAM and --commands exclude each other")
	case many:
		return nil
	case o.json || o.compares():
		err = errors.New("check: --json and --against need --commands")
	case len(args) == 0 && !others && !o.set.Changed("config") && !o.set.Changed("rules"):
		err = errors.New("check: missing PROGRAM argument, or --config or --rules")
	default:
		return nil
	}
	return statusError{exitUsage, err}
}

// checkCommand checks one command by the rules of p.
func checkCommand(cmd *cobra.Command, args []string, p agent.Policy) error {
	path, area := []byte(args[0]), match.Area(args)
	v := p.Matcher.Judge(path, area)
	text := explain(v, matched(new(match.Expressions), v, path, area))
	if v.Outcome == match.NoMatch {
		if allow := p.Matcher.Allowed(path, area); allow != nil {
			text += fmt.Sprintf("; for other detectors it is allowed by %q (%s)", allow.Expr, allow.Origin)
		}
	}
	if _, err := fmt.Fprintln(cmd.OutOrStdout(), text); err != nil {
		return err
	}
	if v.Outcome == match.Banned {
		return statusError{status: exitWouldKill}
	}
	return nil
}

// checkCommands checks the commands of a file by the rules of p.
func checkCommands(cmd *cobra.Command, o checkOptions, p agent.Policy) error {
	c := checker{rules: p.Matcher, json: o.json, name: "standard input", out: bufio.NewWriter(cmd.OutOrStdout()), err: cmd.ErrOrStderr()}
	if o.compares() {
		other := p.Config
		other.Rules = o.against
		other.BuiltinRules = maps.Clone(p.BuiltinRules)
		_ = o.againstBuiltin.apply(other.BuiltinRules) // Set has checked it
		if err := other.Validate(); err != nil {
			return statusError{exitUsage, err}
		}
		before, err := compile(other)
		if err != nil {
			return err
		}
		c.against = before.Matcher
	}
	in := cmd.InOrStdin()
	if o.commands != "-" {
		f, err := os.Open(o.commands)
		if err != nil {
			return statusError{exitUsage, fmt.Errorf("check: %w", err)}
		}
		defer f.Close()
		in, c.name = f, o.commands
	}
	return c.run(in)
}

func warn(cmd *cobra.Command, text any) error {
	_, err := fmt.Fprintf(cmd.ErrOrStderr(), "cryptnono: warning: %s\n", text)
	return err
}

// checkDetectors runs the checks of detectors whose flags are set. If none is, it checks only
// settings and rules.
func checkDetectors(cmd *cobra.Command, s *settings, asked map[string]*string) error {
	p, err := s.policy()
	if err != nil {
		return err
	}
	for _, w := range p.Warnings {
		if err := warn(cmd, w); err != nil {
			return err
		}
	}
	killed, checked := false, false
	for _, k := range detectors.All() {
		for _, c := range k.Checks {
			if *asked[c.Name] == "" {
				continue
			}
			checked = true
			text, kills, err := c.Run(p.ForDetector(k), *asked[c.Name])
			if err != nil {
				return statusError{exitUsage, fmt.Errorf("check: %w", err)}
			}
			if !p.Detectors[k.Name].IsEnabled() {
				text, kills = k.Name+" is off; with it: "+text, false
			}
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), text); err != nil {
				return err
			}
			killed = killed || kills
		}
	}
	switch {
	case killed:
		return statusError{status: exitWouldKill}
	case checked:
		return nil
	}
	set := &p.Matcher.Set
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "settings and rules are valid: %d bans, %d banned addresses, %d banned names, %d allow patterns\n",
		len(set.Bans), len(set.Addresses), len(set.Names), len(set.Allowed))
	return err
}

// readCommand reads a program and its arguments, one per line or, if the input contains
// a NUL, each terminated by a NUL.
func readCommand(r io.Reader) ([]string, error) {
	text, err := io.ReadAll(io.LimitReader(r, commands.MaxLine+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading standard input: %w", err)
	case len(text) > commands.MaxLine:
		return nil, fmt.Errorf("standard input has more than %d MiB", commands.MaxLine>>20)
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
func explain(v match.Verdict, matched string) string {
	if v.Outcome == match.NoMatch {
		return "would run: no rule matches"
	}
	ban := fmt.Sprintf("%q (%s)", matched, v.Ban.Origin)
	switch {
	case v.Outcome == match.Allowed && v.Allow == nil:
		return fmt.Sprintf("would run: matches %s, but only in the text of a shell, which %s allows", ban, v.AllowedBy())
	case v.Outcome == match.Allowed:
		return fmt.Sprintf("would run: matches %s, but is allowed by %q (%s)", ban, v.Allow.Expr, v.Allow.Origin)
	case v.Outcome == match.Observed:
		return fmt.Sprintf("would run and be logged: matches %s, for which the rule or the settings say observe", ban)
	default:
		return fmt.Sprintf("would be killed: matches %s", ban)
	}
}
