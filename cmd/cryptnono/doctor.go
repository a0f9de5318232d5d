package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/cryptnono/cryptnono/internal/agent"
	"github.com/cryptnono/cryptnono/internal/config"
	"github.com/cryptnono/cryptnono/internal/detectors"
	"github.com/cryptnono/cryptnono/internal/doctor"
	"github.com/cryptnono/cryptnono/internal/rules"
)

func newDoctorCommand() *cobra.Command {
	var s *settings
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check kernel features and privileges",
		Long: `Check kernel features and privileges, one line per check, and show how to fix what
is missing. Each detector is loaded for a moment, without killing. With --config or
--rules, these files are checked as well, and detectors that are off are not loaded.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := config.Default(detectors.All())
			c.Action = rules.Observe
			p, err := compile(c)
			if err != nil {
				return err
			}
			nothing := jsonFormat.logger(io.Discard, slog.LevelError)
			a := &agent.Agent{Kinds: detectors.All(), Policy: p, Log: nothing, Verdicts: nothing}
			checks := doctor.Machine()
			isOff := func(string) bool { return false }
			if cmd.Flags().NFlag() > 0 {
				wanted, err := s.policy()
				checks = append(checks, checkOf(wanted, err))
				isOff = func(name string) bool { d, ok := wanted.Detectors[name]; return ok && !d.IsEnabled() }
			}
			for _, p := range a.Probes() {
				c := doctor.Loads(p.Name, p.Load)
				c.Off = isOff(p.Name)
				checks = append(checks, c)
			}
			return doctor.Report(cmd.OutOrStdout(), checks)
		},
	}
	s = addSettings(cmd, "config", "rules", "builtin-rules")
	return cmd
}

// checkOf returns the check of the settings and rules of p, and of the error of reading them.
// Warnings do not fail it.
func checkOf(p agent.Policy, err error) doctor.Check {
	optional := err == nil
	for _, w := range p.Warnings {
		err = errors.Join(err, errors.New(w.String()))
	}
	return doctor.Check{Name: "settings", Optional: optional, Run: func() (string, error) {
		if err != nil {
			return "", err
		}
		set := &p.Matcher.Set
		return fmt.Sprintf("%d bans, %d banned addresses, %d banned names and %d allow patterns",
			len(set.Bans), len(set.Addresses), len(set.Names), len(set.Allowed)), nil
	}}
}
