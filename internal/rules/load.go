package rules

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cryptnono/cryptnono/internal/strict"
)

// Load reads rule files into one set, in the order of paths. A path is a
// file of any name, or a directory: then the files directly in it whose names
// end in .json, .yaml or .yml are read, in the order of their names. Hidden
// files are not, because a ConfigMap is mounted as symbolic links to files in
// a hidden directory. A directory without rule files is an error, since the
// protection that somebody meant to put there is missing.
//
// If anything is wrong with any file the set is empty, and the error names all
// problems of all files, a line each.
func Load(paths []string) (Set, error) {
	var set Set
	var errs []error
	for _, path := range paths {
		files, err := ruleFiles(path)
		errs = append(errs, err)
		for _, file := range files {
			errs = append(errs, strict.Read(file, func(root strict.Value) { set.add(file, root) }))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return Set{}, err
	}
	return set, nil
}

// ruleFiles returns the rule files that path stands for.
func ruleFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("looking for rule files: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path) // sorted by name
	if err != nil {
		return nil, fmt.Errorf("looking for rule files: %w", err)
	}
	var files []string
	for _, entry := range entries {
		name := entry.Name()
		isRuleFile := slices.Contains([]string{".json", ".yaml", ".yml"}, filepath.Ext(name))
		if isRuleFile && !strings.HasPrefix(name, ".") {
			files = append(files, filepath.Join(path, name))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: no .json, .yaml or .yml file in this directory; a file with just {} says that no rules are meant", path)
	}
	return files, nil
}
