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

// Load reads rule files into one set, in the order of paths. A path is a file, or a
// directory: its files *.json, *.yaml, *.yml and *.addresses are read, sorted by name, without
// subdirectories. A file *.addresses has an address a line. Hidden files are skipped, because a
// ConfigMap is mounted as symbolic links to files in a hidden directory. A directory without
// rule files is an error, because the rules that the operator expects there are missing.
//
// If any file has a problem, the set is empty and the error has all problems of all
// files, one per line.
func Load(paths []string) (Set, error) {
	var set Set
	var errs []error
	known := builtinParts()
	for _, path := range paths {
		files, err := ruleFiles(path)
		errs = append(errs, err)
		for _, file := range files {
			if filepath.Ext(file) == addressesExt {
				errs = append(errs, set.addAddresses(file))
				continue
			}
			err := strict.Read(file, func(root strict.Value) { set.add(file, root, known) })
			if err != nil && hasAddresses(file) {
				err = fmt.Errorf("%w\n%s: a file with one address per line must be named *%s", err, file, addressesExt)
			}
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return Set{}, err
	}
	return set, nil
}

// ruleFiles returns the rule files at a path.
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
		isRuleFile := slices.Contains([]string{".json", ".yaml", ".yml", addressesExt}, filepath.Ext(name))
		if isRuleFile && !strings.HasPrefix(name, ".") {
			files = append(files, filepath.Join(path, name))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: no .json, .yaml, .yml or .addresses file in this directory; add a file with the content {} if no rules are intended", path)
	}
	return files, nil
}
