package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const (
	root         = "../.."
	architecture = "docs/architecture.md"
	detector     = "internal/detector/execwhacker" // has the files that are named without a folder
)

// A step is a row of the walk's tables.
type step struct {
	function, file string
	from           string // the function of an earlier step
	by             string // what both use, if from does not call function
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// walk returns the section of the walk and its steps.
func walk(t *testing.T) (section string, steps []step) {
	t.Helper()
	_, section, _ = strings.Cut(read(t, architecture), "\n## One event, from the kernel to the log line\n")
	section, _, _ = strings.Cut(section, "\n## ")
	row := regexp.MustCompile("(?m)^\\| `(\\w+)` \\| `([\\w./]+)` \\| (?:`(\\w+)`(?:, `(\\w+)`)?)? ?\\|")
	for _, m := range row.FindAllStringSubmatch(section, -1) {
		s := step{m[1], m[2], m[3], m[4]}
		if !strings.Contains(s.file, "/") {
			s.file = detector + "/" + s.file
		}
		steps = append(steps, s)
	}
	if rows := strings.Count(section, "\n| `"); len(steps) != rows || rows < 20 {
		t.Fatalf("%d rows, of which %d can be read", rows, len(steps))
	}
	return section, steps
}

// body returns the definitions of a function in the text of a C or Go file.
func body(text, function string) string {
	start := regexp.MustCompile(`(?m)^(?:func (?:\([^)]*\) )?` + function + `\(|[a-z_][^;{}()=]*\b(?:BPF_PROG\()?` + function + `\b[^;{}]*\{)`)
	var all strings.Builder
	for _, at := range start.FindAllStringIndex(text, -1) {
		definition := text[at[0]:]
		if end := strings.Index(definition, "\n}\n"); end >= 0 {
			definition = definition[:end]
		}
		all.WriteString(definition)
	}
	return all.String()
}

func TestTheWalkIsWhatTheCodeDoes(t *testing.T) {
	_, steps := walk(t)
	bodies := make(map[string]string) // of the latest step with a function of that name
	for i, s := range steps {
		text := read(t, s.file)
		its := body(text, s.function)
		if its == "" {
			t.Errorf("%s is not defined in %s", s.function, s.file)
		}
		from, earlier := bodies[s.from]
		calls := regexp.MustCompile(`\b` + s.function + `\(`)
		switch {
		case i == 0 && s.from == "":
		case !earlier:
			t.Errorf("%s is from %q, which is no earlier step", s.function, s.from)
		case s.by == "" && !calls.MatchString(from[strings.Index(from, "{")+1:]):
			t.Errorf("%s does not call %s", s.from, s.function)
		case s.by != "":
			uses := regexp.MustCompile(`\b` + s.by + `\b`)
			if !uses.MatchString(from) || !uses.MatchString(text) {
				t.Errorf("%s and %s do not share %s", s.from, s.file, s.by)
			}
		}
		bodies[s.function] = its
	}
}

func TestTheWalkReturnsAsOftenAsItSays(t *testing.T) {
	section, steps := walk(t)
	left := make(map[string]bool)
	returns := 0
	for i, s := range steps {
		if i > 0 && s.file != steps[i-1].file {
			left[steps[i-1].file] = true
			if left[s.file] {
				returns++
			}
		}
	}
	said := regexp.MustCompile(`returns (\d+) times to a file`).FindStringSubmatch(section)
	if said == nil || said[1] != strconv.Itoa(returns) {
		t.Errorf("it returns %d times, the page says %q", returns, said)
	}
}
