package main

import (
	"flag"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/cryptnono/cryptnono/internal/agent"
	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detectors"
	"github.com/cryptnono/cryptnono/internal/doctor"
)

// newViewCommands returns a command for each view of a detector.
func newViewCommands() (all []*cobra.Command) {
	for _, k := range detectors.All() {
		for _, v := range k.Views {
			all = append(all, newViewCommand(k, v))
		}
	}
	return all
}

func newViewCommand(k detector.Kind, v detector.View) *cobra.Command {
	var s *settings
	flags := flag.NewFlagSet(v.Name, flag.ContinueOnError)
	run := v.New(flags)
	cmd := &cobra.Command{
		Use:   v.Name,
		Short: v.Short,
		Long:  v.Long,
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := s.policy()
			if err != nil {
				return err
			}
			log := jsonFormat.logger(cmd.ErrOrStderr(), max(p.LogLevel, slog.LevelWarn))
			a := &agent.Agent{Kinds: detectors.All(), Policy: p, Log: log, Verdicts: log}
			return doctor.Explain(a.View(cmd.Context(), k, run, cmd.OutOrStdout()))
		},
	}
	s = addSettings(cmd, "config")
	cmd.Flags().AddGoFlagSet(flags)
	return cmd
}
