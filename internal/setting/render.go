package setting

import (
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Schema returns the JSON schema of each key.
func (t Table) Schema() map[string]any {
	all := make(map[string]any, len(t))
	for _, s := range t {
		all[s.Key] = s.Schema
	}
	return all
}

// Rows returns a row of a Markdown table for each setting: key, type, default and help.
func (t Table) Rows() string {
	var b strings.Builder
	t.each("", func(path string, s *Setting) {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", path, s.Type, s.inDocs(), s.Help)
	})
	return b.String()
}

// inDocs returns the default in Markdown.
func (s *Setting) inDocs() string {
	list, isList := s.Default.([]string)
	switch {
	case s.usual != "":
		return s.usual
	case isList && len(list) == 0:
		return "none"
	case s.Default == "":
		return "empty"
	case isList:
		return "`" + strings.Join(list, "`, `") + "`"
	}
	return fmt.Sprintf("`%v`", s.Default)
}

// inYAML returns what follows the colon for a default in YAML. A map has lines of its own,
// which begin with indent.
func inYAML(v any, indent string) string {
	write := yaml.Marshal
	if _, ok := v.([]string); ok {
		write = json.Marshal // JSON is YAML
	}
	text, err := write(v)
	if err != nil {
		panic(err) // cannot happen with the types of Default
	}
	if _, ok := v.(map[string]string); ok {
		return strings.TrimRight(strings.ReplaceAll("\n"+string(text), "\n", "\n"+indent+"  "), "\n ")
	}
	return " " + strings.TrimSpace(string(text))
}

// Values returns the settings with their defaults in YAML, with type and help as comments in
// the form of helm-docs. Each line begins with indent.
func (t Table) Values(indent string) string {
	var b strings.Builder
	for _, s := range t {
		if s.Group != nil {
			fmt.Fprintf(&b, "%s%s:\n%s", indent, s.Key, s.Group.Values(indent+"  "))
			continue
		}
		fmt.Fprintf(&b, "%s# -- (%s) %s\n%s%s:%s\n", indent, s.Type, s.Help, indent, s.Key, inYAML(s.Default, indent))
	}
	return b.String()
}
