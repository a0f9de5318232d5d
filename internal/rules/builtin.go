package rules

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/cryptnono/cryptnono/internal/strict"
)

//go:embed builtin/*.yaml
var builtin embed.FS

// partsFile has parts of expressions, which all rule files can refer to, and no rules.
const partsFile = "builtin/parts.yaml"

// A Group is a file of the built-in rules.
type Group struct {
	Name   string // of the file, without .yaml
	Action Action // in the file: Kill or Observe
	// OffByDefault means that the rules do not apply unless the settings say so.
	OffByDefault bool
	// Comment is the text at the top of the file: what the group matches, what it does and
	// why, the sources, and the expected false positives.
	Comment string

	rules Set
}

// Default returns the action without settings.
func (g *Group) Default() Action {
	if g.OffByDefault {
		return Off
	}
	return g.Action
}

// Groups returns the groups of built-in rules, sorted by name.
func Groups() []Group { return slices.Clone(groups()) }

var groups = sync.OnceValue(func() []Group { //nolint:gochecknoglobals // set once
	files, err := fs.Glob(builtin, "builtin/*.yaml")
	if err != nil {
		panic(fmt.Errorf("listing the built-in rules: %w", err))
	}
	known := builtinParts()
	var all []Group
	for _, file := range files {
		if file == partsFile {
			continue
		}
		g := Group{Name: strings.TrimSuffix(path.Base(file), ".yaml"), Action: Kill}
		g.OffByDefault = g.Name == environmentGroup
		g.Comment = readBuiltin(file, func(root strict.Value) { g.rules.add(file, root, known) })
		for _, ban := range g.rules.Bans {
			g.Action = ban.Action
		}
		all = append(all, g)
	}
	return all
})

// builtinParts returns the parts that all rule files can refer to, which callers must not change.
var builtinParts = sync.OnceValue(func() (known parts) { //nolint:gochecknoglobals // set once
	readBuiltin(partsFile, func(root strict.Value) { known = new(Set).add(partsFile, root, parts{}) })
	return known
})

// readBuiltin calls decode with the outermost value of a built-in file, and returns the
// comment at its top.
func readBuiltin(file string, decode func(strict.Value)) (comment string) {
	data, err := builtin.ReadFile(file)
	if err == nil {
		err = strict.Parse(file, data, decode)
	}
	if err != nil {
		panic(fmt.Errorf("reading the built-in rules: %w", err))
	}
	for line := range strings.Lines(string(data)) {
		text, isComment := strings.CutPrefix(line, "#")
		if !isComment {
			break
		}
		comment += strings.TrimPrefix(text, " ")
	}
	return comment
}

// Builtin returns the built-in rules that apply without settings. Their origins are files
// such as "builtin/pools.yaml".
func Builtin() Set { return DefaultActions().Rules() }
