package rules

import (
	_ "embed" // for builtin.bin
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/cryptnono/cryptnono/internal/scrambled"
	"github.com/cryptnono/cryptnono/internal/strict"
)

//go:generate go run ../scrambled/generate builtin.bin builtin/*.yaml

// builtinFiles are the files builtin/*.yaml. The program carries them scrambled, so that it has
// no words of miners.
//
//go:embed builtin.bin
var builtinFiles []byte

// builtin returns the texts of the files by their names, such as "builtin/pools.yaml".
var builtin = sync.OnceValue(func() map[string]string { return scrambled.Unpack(builtinFiles) }) //nolint:gochecknoglobals // set once

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
	known := builtinParts()
	var all []Group
	for _, file := range slices.Sorted(maps.Keys(builtin())) {
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
	text := builtin()[file]
	if err := strict.Parse(file, []byte(text), decode); err != nil {
		panic(fmt.Errorf("reading the built-in rules: %w", err))
	}
	for line := range strings.Lines(text) {
		line, isComment := strings.CutPrefix(line, "#")
		if !isComment {
			break
		}
		comment += strings.TrimPrefix(line, " ")
	}
	return comment
}

// Builtin returns the built-in rules that apply without settings. Their origins are files
// such as "builtin/pools.yaml".
func Builtin() Set { return DefaultActions().Rules() }
