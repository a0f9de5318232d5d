package rules

import (
	"embed"
	"fmt"
	"io/fs"

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
			err = strict.Parse(file, data, func(root strict.Value) { set.add(file, root) })
		}
		if err != nil {
			panic(fmt.Errorf("reading the built-in rules: %w", err))
		}
	}
	return set
}
