package rules

import (
	"embed"
	"fmt"
	"io/fs"
	"sync"

	"github.com/cryptnono/cryptnono/internal/strict"
)

//go:embed builtin/*.yaml
var builtin embed.FS

// Builtin returns the built-in rules. Their origins are files such as
// "builtin/pools.yaml". A comment in each file names its sources and expected false
// positives.
func Builtin() Set {
	var set Set
	files, err := fs.Glob(builtin, "builtin/*.yaml")
	if err != nil {
		panic(fmt.Errorf("listing the built-in rules: %w", err))
	}
	for _, file := range files {
		data, err := builtin.ReadFile(file)
		if err == nil {
			err = strict.Parse(file, data, func(root strict.Value) { set.add(file, root, builtinParts()) })
		}
		if err != nil {
			panic(fmt.Errorf("reading the built-in rules: %w", err))
		}
	}
	return set
}

// builtinParts returns the parts of builtin/parts.yaml, which all rule files can refer to.
var builtinParts = sync.OnceValue(func() parts {
	const file = "builtin/parts.yaml"
	data, err := builtin.ReadFile(file)
	var known parts
	if err == nil {
		err = strict.Parse(file, data, func(root strict.Value) { known = new(Set).add(file, root, parts{}) })
	}
	if err != nil {
		panic(fmt.Errorf("reading the parts of the built-in rules: %w", err))
	}
	return known
})
