package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/cryptnono/cryptnono/internal/config"
	"github.com/cryptnono/cryptnono/internal/detector"
)

// page writes the list of settings into docs/configuration.md.
func page(old string, kinds []detector.Kind) (string, error) {
	c := config.Default(kinds)
	const begin, end = "<!-- The rows up to the end are written by make chart-docs. -->\n", "<!-- The end. -->"
	return replace(old, begin, end, "\n| key | type | default | meaning |\n|---|---|---|---|\n"+c.Table().Rows()+"\n")
}

// values writes the settings of each detector into the chart's values.yaml. Values that
// only the chart has stay. A new detector is added at the end.
func values(old string, kinds []detector.Kind) (string, error) {
	const end = "    # The end of the generated values.\n"
	for _, k := range kinds {
		begin := fmt.Sprintf("  %s:\n    # Generated from internal/detector/%[1]s/settings.go by make chart-docs.\n", k.Name)
		if !strings.Contains(old, begin) {
			detectors := regexp.MustCompile(`(?m)^detectors:\n(?: .*\n)*`).FindStringIndex(old)
			if detectors == nil {
				return "", fmt.Errorf("no detectors")
			}
			old = old[:detectors[1]] + begin + end + old[detectors[1]:]
		}
		text, err := replace(old, begin, end, k.Settings().Table().Values("    "))
		if err != nil {
			return "", err
		}
		old = text
	}
	return old, nil
}

// replace puts text between begin and the next end.
func replace(old, begin, end, text string) (string, error) {
	before, rest, ok := strings.Cut(old, begin)
	_, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		return "", fmt.Errorf("%q, followed by %q, is missing", begin, end)
	}
	return before + begin + text + end + after, nil
}
