// Generate writes the files that match a pattern, scrambled, into one file that the program
// carries: generate FILE PATTERN. Their names in it are relative to the working directory.
package main

import (
	"fmt"
	"os"

	"github.com/cryptnono/cryptnono/internal/scrambled"
)

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // this is a main
	}
}

func run(to, pattern string) error {
	text, err := scrambled.Pack(os.DirFS("."), pattern)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o644) //nolint:gosec // files of the repository are readable by all users
}
