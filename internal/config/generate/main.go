// Generate writes the list of settings in docs/configuration.md, and in the Helm chart
// the values of all settings and their schema, from the declarations of the settings. It also
// writes the list of built-in rules, from their files. Its argument is the root directory of
// the repository.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cryptnono/cryptnono/internal/config"
	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detectors"
	"github.com/cryptnono/cryptnono/internal/setting"
)

func main() {
	if err := run(os.Args[1], detectors.All()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // this is a main
	}
}

// files returns, for each file with a generated part, the function that updates its
// content.
func files() map[string]func(old string, kinds []detector.Kind) (string, error) {
	return map[string]func(string, []detector.Kind) (string, error){
		"docs/configuration.md":               page,
		"charts/cryptnono/values.yaml":        values,
		"charts/cryptnono/values.schema.json": schema,
	}
}

// general returns the general settings that the chart has as values, with its defaults.
func general() setting.Table {
	c := config.Default(nil)
	c.Exemptions.Namespaces, c.Exemptions.NodeRoot = []string{"kube-system"}, true
	return slices.DeleteFunc(c.Table(), func(s setting.Setting) bool {
		return slices.Contains([]string{"rules", "listen", "listenTokenFile", "nodeName", "notices"}, s.Key) // the templates set them
	})
}

func run(root string, kinds []detector.Kind) error {
	for name, generate := range files() {
		file := filepath.Join(root, name)
		old, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		text, err := generate(string(old), kinds)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil { //nolint:gosec // files of the repository are readable by all users
			return err
		}
	}
	return nil
}
