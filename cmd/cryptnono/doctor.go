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
--rules, these files are checked as well.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := config.Default(detectors.All())
			c.Action = rules.Observe
			p, err := compile(c)
			if err != nil {
				return err
			}
			nothing := newLogger(io.Discard, slog.LevelError)
			a := &agent.Agent{Kinds: detectors.All(), Policy: p, Log: nothing, Verdicts: nothing}
			checks := doctor.Machine()
			if cmd.Flags().NFlag() > 0 {
				checks = append(checks, s.check())
			}
			for _, p := range a.Probes() {
				checks = append(checks, doctor.Loads(p.Name, p.Load))
			}
			return doctor.Report(cmd.OutOrStdout(), checks)
		},
	}
	s = addSettings(cmd, "config", "rules", "builtin-rules")
	return cmd
}

// check returns the check of settings and rules. Warnings do not fail it.
func (s *settings) check() doctor.Check {
	p, err := s.policy()
	optional := err == nil
	for _, w := range p.Warnings {
		err = errors.Join(err, errors.New(w.String()))
	}
	return doctor.Check{Name: "settings", Optional: optional, Run: func() (string, error) {
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%d bans and %d allow patterns", len(p.Matcher.Set.Bans), len(p.Matcher.Set.Allowed)), nil
	}}
}
