package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cryptnono/cryptnono/internal/pin"
)

func newUnpinCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unpin",
		Short: "Remove what outlives the agent from the kernel, as root",
		Long: `Remove all pins, of any version. Then nothing protects this machine, unless an agent is
running: then protection ends when that agent ends. A directory that has anything else in it is refused.`,
		Args: noArgs,
	}
	path := cmd.Flags().String("pins", pin.Default, "`DIRECTORY` of the pins, as in the setting pins")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		removed, err := pin.Remove(*path)
		for _, name := range removed {
			fmt.Fprintf(cmd.OutOrStdout(), "removed %s/%s\n", *path, name)
		}
		if err != nil {
			return fmt.Errorf("unpin: %w", err)
		}
		if len(removed) == 0 {
			fmt.Fprintf(cmd.OutOrStdout(), "nothing is pinned in %s\n", *path)
		}
		return nil
	}
	return cmd
}
