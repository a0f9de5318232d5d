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

// values writes the settings into the chart's values.yaml: the general ones at the top
// level, and those of each detector. Values that only the chart has stay. A new detector is
// added at the end.
func values(old string, kinds []detector.Kind) (string, error) {
	const begin, end = "# Generated from internal/config/table.go by make chart-docs.\n", "# The end of the general settings.\n"
	text, err := replace(old, begin, end, fromChart(general().Values("")))
	for _, k := range kinds {
		if err == nil {
			text, err = section(text, k)
		}
	}
	return text, err
}

// section writes the settings of a detector.
func section(old string, k detector.Kind) (string, error) {
	const end = "    # The end of the generated values.\n"
	begin := fmt.Sprintf("  %s:\n    # Generated from internal/detector/%[1]s/settings.go by make chart-docs.\n", k.Name)
	if !strings.Contains(old, begin) {
		detectors := regexp.MustCompile(`(?m)^detectors:\n(?: .*\n)*`).FindStringIndex(old)
		if detectors == nil {
			return "", fmt.Errorf("no detectors")
		}
		old = old[:detectors[1]] + begin + end + old[detectors[1]:]
	}
	return replace(old, begin, end, fromChart(k.Settings().Table().Values("    ")))
}

// fromChart makes the links of docs/configuration.md work in the chart's README.
func fromChart(text string) string {
	text = strings.ReplaceAll(text, "](#", "](configuration.md#")
	return regexp.MustCompile(`\]\(([\w-]+\.md)`).ReplaceAllString(text, "](../../docs/$1")
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
