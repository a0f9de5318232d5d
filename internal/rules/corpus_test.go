package rules_test

import (
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/strict"
)

// builtin returns the matcher of the built-in rules.
func builtin(t *testing.T) *match.Matcher {
	t.Helper()
	m, err := match.Compile(rules.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// verdict evaluates a command line whose program is executed by the path argv[0].
func verdict(m *match.Matcher, argv []string) match.Verdict {
	return m.Judge([]byte(argv[0]), match.Area(argv))
}

// A legitimate is a kind of command line of testdata/legitimate.yaml.
type legitimate struct {
	kind, source string
	commands     []string
}

func readLegitimate(t *testing.T) []legitimate {
	t.Helper()
	var all []legitimate
	err := strict.Read("testdata/legitimate.yaml", func(root strict.Value) {
		root.List(func(_ int, v strict.Value) {
			var l legitimate
			v.Map(map[string]func(strict.Value){
				"kind":   func(v strict.Value) { v.Text(&l.kind) },
				"source": func(v strict.Value) { v.Text(&l.source) },
				"commands": func(v strict.Value) {
					v.List(func(_ int, v strict.Value) {
						var command string
						v.Text(&command)
						l.commands = append(l.commands, command)
					})
				},
			})
			all = append(all, l)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTheBuiltInRulesKillNothingLegitimate(t *testing.T) {
	m := builtin(t)
	for _, l := range readLegitimate(t) {
		t.Run(l.kind, func(t *testing.T) {
			if l.kind == "" || l.source == "" || len(l.commands) == 0 {
				t.Fatalf("without its kind, its source or commands: %+v", l)
			}
			for _, command := range l.commands {
				if v := verdict(m, strings.Split(command, " ")); v.Outcome == match.Banned {
					t.Errorf("%s: killed by %v, %q", command, v.Ban.Origin, v.Ban.Text)
				}
			}
		})
	}
}

// Kinds that the built-in rules do not match have in needs the feature that the matcher
// lacks for them.
func TestTheBuiltInRulesKillMiners(t *testing.T) {
	m := builtin(t)
	for _, k := range minerKinds() {
		t.Run(k.name, func(t *testing.T) {
			missed := 0
			for _, argv := range k.commands {
				if killed(m, argv) {
					continue
				}
				missed++
				if k.needs == "" {
					t.Errorf("runs: %q", argv)
				}
			}
			if k.needs != "" && missed == 0 {
				t.Errorf("killed without %s: remove it from needs", k.needs)
			}
		})
	}
}

// killed reports whether a command is killed or, for a shell with a script, one of the
// commands in the script.
func killed(m *match.Matcher, argv []string) bool {
	if verdict(m, argv).Outcome == match.Banned {
		return true
	}
	if len(argv) < 3 || argv[1] != "-c" || !strings.HasSuffix(argv[0], "sh") {
		return false
	}
	separators := strings.NewReplacer("&&", "\n", "||", "\n", ";", "\n", "|", "\n", "&", "\n")
	for command := range strings.Lines(separators.Replace(argv[2])) {
		child := strings.Fields(command)
		for len(child) > 1 && (child[0] == "nohup" || child[0] == "exec" || child[0] == "setsid") {
			child = child[1:]
		}
		if len(child) > 0 && verdict(m, child).Outcome == match.Banned {
			return true
		}
	}
	return false
}
