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

// A vital is a command line that nodes run, from vital.yaml.
type vital struct {
	name      string
	cgroup    string // on the host; empty in a pod
	namespace string // of its pod; empty on the host
	program   string // path of the executed program
	command   string // from argv[0] on, separated by spaces
}

// area returns the command as match.Area. Splitting at spaces is exact enough, because
// bans do not distinguish a space from the end of an argument.
func (v vital) area() []byte { return match.Area(strings.Split(v.command, " ")) }

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
		panic(fmt.Errorf("reading vital.yaml: %w", err))
	}
	return all
}
