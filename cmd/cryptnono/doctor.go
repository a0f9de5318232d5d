package main

import (
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/cryptnono/cryptnono/internal/agent"
	"github.com/cryptnono/cryptnono/internal/config"
	"github.com/cryptnono/cryptnono/internal/doctor"
	"github.com/cryptnono/cryptnono/internal/rules"
)

func newDoctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what this kernel and these privileges allow",
		Long: `Say in a line each what this kernel and these privileges allow, and what to do
about what is missing. Each detector is loaded for a moment, and harms nobody.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := config.Default()
			c.Action = rules.Observe
			p, err := compile(c)
			if err != nil {
				return err
			}
			nothing := newLogger(io.Discard, slog.LevelError)
			a := &agent.Agent{Policy: p, Log: nothing, Verdicts: nothing}
			checks := doctor.Machine()
			for _, part := range a.Parts() {
				checks = append(checks, doctor.Loads(part.Name, part.Try))
			}
			return doctor.Report(cmd.OutOrStdout(), checks)
		},
	}
}
