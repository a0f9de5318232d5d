package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/cryptnono/cryptnono/internal/config"
	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// page writes the list of settings and that of the built-in rules into docs/configuration.md.
func page(old string, kinds []detector.Kind) (string, error) {
	c := config.Default(kinds)
	const begin, end = "<!-- The rows up to the end are written by make chart-docs. -->\n", "<!-- The end. -->"
	text, err := replace(old, begin, end, "\n| key | type | default | meaning |\n|---|---|---|---|\n"+c.Table().Rows()+"\n")
	if err != nil {
		return "", err
	}
	rows, err := groups(rules.Groups())
	if err != nil {
		return "", err
	}
	const groupsBegin = "<!-- The groups up to the end are written by make chart-docs. -->\n"
	return replace(text, groupsBegin, end, "\n| group | default | matches | why |\n|---|---|---|---|\n"+rows+"\n")
}

// groups returns a row of a Markdown table for each group of built-in rules. What it matches
// and why it has its action are in the comment of the group.
func groups(all []rules.Group) (string, error) {
	matches := regexp.MustCompile(`(?s)^\w+\. (\S.*?)[.:]\s`)
	why := regexp.MustCompile(`(?s)\nWhy it [\w ]+: (\S.*?)\n(?:\n|Sources?: )`)
	var b strings.Builder
	for _, g := range all {
		cells := []string{fmt.Sprintf("[`%s`](../internal/rules/builtin/%[1]s.yaml)", g.Name), fmt.Sprintf("`%s`", g.Default())}
		for _, part := range []*regexp.Regexp{matches, why} {
			found := part.FindStringSubmatch(g.Comment)
			if found == nil {
				return "", fmt.Errorf("%s.yaml: its comment does not match %v", g.Name, part)
			}
			text := strings.ReplaceAll(strings.Join(strings.Fields(found[1]), " "), "|", `\|`)
			cells = append(cells, strings.ToUpper(text[:1])+text[1:])
		}
		b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
	}
	return b.String(), nil
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
