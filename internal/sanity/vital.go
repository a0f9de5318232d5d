package sanity

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/strict"
)

//go:embed vital.yaml
var vitalFile []byte

// A vital is a command line that nodes run.
type vital struct {
	name      string
	cgroup    string // on the host, or
	namespace string // of its pod
	program   string // as it is executed
	command   string // from argv[0] on, separated by spaces
}

// area is the argument area of the command, in which a space is as good as the end
// of an argument.
func (v vital) area() []byte { return match.Area(strings.Split(v.command, " ")) }

// vitals returns those of vital.yaml.
func vitals() []vital {
	var all []vital
	group := func(v strict.Value) {
		var g vital
		var commands []string
		v.Map(map[string]func(strict.Value){
			"name":      func(v strict.Value) { v.Text(&g.name) },
			"cgroup":    func(v strict.Value) { v.Text(&g.cgroup) },
			"namespace": func(v strict.Value) { v.Text(&g.namespace) },
			"program":   func(v strict.Value) { v.Text(&g.program) },
			"commands": func(v strict.Value) {
				v.List(func(_ int, v strict.Value) {
					var command string
					v.Text(&command)
					commands = append(commands, command)
				})
			},
		})
		for _, command := range commands {
			one := g
			one.command = command
			if one.program == "" {
				one.program, _, _ = strings.Cut(command, " ")
			}
			all = append(all, one)
		}
	}
	err := strict.Parse("vital.yaml", vitalFile, func(root strict.Value) {
		root.List(func(_ int, v strict.Value) { group(v) })
	})
	if err != nil {
		panic(fmt.Errorf("reading the command lines of nodes: %w", err))
	}
	return all
}
