package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cryptnono/cryptnono/internal/strict"
)

// A File is a rule file that was read.
type File struct {
	Path string // or that of a directory that could not be listed
	// Set has the rules of the file. If the file has a problem, it has only those allow patterns
	// that have none: without them more would be killed, and not less.
	Set Set
	// Err has all problems of the file, one per line, or is nil.
	Err error
}

// Load reads rule files into one set, as LoadEach does. If any file has a problem, the set is
// empty and the error has all problems of all files, one per line.
func Load(paths []string) (Set, error) {
	var all Set
	var errs []error
	for _, f := range LoadEach(paths) {
		all.Add(f.Set)
		errs = append(errs, f.Err)
	}
	if err := errors.Join(errs...); err != nil {
		return Set{}, err
	}
	return all, nil
}

// LoadEach reads rule files, in the order of paths. A path is a file, or a directory: its files
// *.json, *.yaml, *.yml and *.addresses are read, sorted by name, without subdirectories. A file
// *.addresses has an address a line. Hidden files are skipped, because a ConfigMap is mounted as
// symbolic links to files in a hidden directory. A directory without rule files is an error,
// because the rules that the operator expects there are missing.
func LoadEach(paths []string) []File {
	var all []File
	known := builtinParts()
	for _, path := range paths {
		files, err := ruleFiles(path)
		if err != nil {
			all = append(all, File{Path: path, Err: err})
		}
		for _, file := range files {
			all = append(all, load(file, known))
		}
	}
	return all
}

func load(path string, known parts) File {
	f := File{Path: path}
	if filepath.Ext(path) == addressesExt {
		f.Err = f.Set.addAddresses(path)
	} else {
		f.Err = strict.Read(path, func(root strict.Value) { f.Set.add(path, root, known) })
		if f.Err != nil && hasAddresses(path) {
			f.Err = fmt.Errorf("%w\n%s: a file with one address per line must be named *%s", f.Err, path, addressesExt)
		}
	}
	if f.Err != nil {
		f.Set = Set{Allowed: slices.DeleteFunc(f.Set.Allowed, func(p Pattern) bool { return checkPattern(p.Expr) != nil })}
	}
	return f
}

// Add appends the rules of other.
func (s *Set) Add(other Set) {
	s.Bans = append(s.Bans, other.Bans...)
	s.Allowed = append(s.Allowed, other.Allowed...)
	s.Addresses = append(s.Addresses, other.Addresses...)
	s.Names = append(s.Names, other.Names...)
}

// Encode writes a text that is the same for equal rules, and another one for others.
func (s *Set) Encode(w io.Writer) error {
	out := json.NewEncoder(w)
	var err error
	for _, ban := range s.Bans { // one by one, because there can be many
		err = errors.Join(err, out.Encode(ban))
	}
	for _, address := range s.Addresses {
		err = errors.Join(err, out.Encode(address))
	}
	return errors.Join(err, out.Encode(s.Names), out.Encode(s.Allowed))
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
