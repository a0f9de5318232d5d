package workflows

import (
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// A form is one of GitHub's issue forms.
type form struct {
	Name, Description string
	Body              []struct {
		Type, ID   string
		Attributes struct{ Label, Value, Render string }
		// Of an input.
		Validations struct{ Required bool }
	}
}

// GitHub shows no form that it cannot read, and says so to nobody.
func TestEachIssueFormAsksForTheReportOfDoctor(t *testing.T) {
	names, err := filepath.Glob(root + "/.github/ISSUE_TEMPLATE/*.yml")
	if err != nil || len(names) != 4 {
		t.Fatalf("%q, %v", names, err)
	}
	for _, name := range names {
		if filepath.Base(name) == "config.yml" {
			continue
		}
		text := read(t, ".github/ISSUE_TEMPLATE/"+filepath.Base(name))
		var f form
		if err := yaml.Unmarshal([]byte(text), &f); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if f.Name == "" || f.Description == "" {
			t.Errorf("%s has no name or description", name)
		}
		ids, asks := make(map[string]bool), false
		for _, b := range f.Body {
			switch b.Type {
			case "markdown":
				if b.Attributes.Value == "" {
					t.Errorf("%s: a text is empty", name)
				}
				continue
			case "textarea", "input":
			default:
				t.Errorf("%s: no input is of the type %q", name, b.Type)
			}
			if b.ID == "" || ids[b.ID] || b.Attributes.Label == "" || b.Type == "input" && b.Attributes.Render != "" {
				t.Errorf("%s: input %q", name, b.ID)
			}
			ids[b.ID] = true
			asks = asks || b.ID == "doctor" && b.Validations.Required && strings.Contains(b.Attributes.Label, "cryptnono doctor")
		}
		if !asks {
			t.Errorf("%s does not ask for the report of doctor", name)
		}
	}
}
