// Package setting declares the settings of the agent and of its detectors. A table has
// one line for each key of the settings file. It reads and checks the file; the list of
// settings in docs, the Helm chart's values and their schema are generated from it.
//
// As in package flag, a declaration binds a key to a variable, whose current value is the
// default. A table is not safe for concurrent use.
package setting

import (
	"errors"
	"fmt"

	"github.com/cryptnono/cryptnono/internal/strict"
)

// A Setting is a key and the variable that stores its value.
type Setting struct {
	Key     string
	Help    string         // in Markdown, in whole sentences; empty for a group
	Type    string         // in the docs, in Markdown; empty for a group
	Default any            // as in a file: a bool, int, float64, string, []string or map[string]string; nil for a group
	Schema  map[string]any // JSON schema, draft 7, of the value
	Group   Table          // nil if the setting is not a group
	Items   Table          // settings of an item of a list of maps, with their defaults; nil for another setting

	usual  string                                             // the default in the docs; empty for Default
	read   func(v strict.Value, note func(item strict.Value)) // stores v; values of a wrong type change nothing
	checks []func() error                                     // of the whole value
	items  func(report func(i int, err error))                // checks each item of a list; nil if it is not a list
}

// A Table is a list of settings with different keys.
type Table []Setting

// Decode stores the map v of a settings file in the variables. It reports unknown keys,
// values of a wrong type, and values that do not pass their check as problems of v. It
// calls note for each value in v and for each item of a list.
func (t Table) Decode(v strict.Value, note func(strict.Value)) {
	fields := make(map[string]func(strict.Value), len(t))
	for _, s := range t {
		fields[s.Key] = func(v strict.Value) { s.decode(v, note) }
	}
	v.Map(fields)
}

func (s *Setting) decode(v strict.Value, note func(strict.Value)) {
	if s.Group != nil {
		s.Group.Decode(v, note)
		return
	}
	note(v)
	s.read(v, note)
	v.Check(s.check())
}

// check returns the first problem of the whole value.
func (s *Setting) check() error {
	for _, check := range s.checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// Validate checks the variables. The error has one line for each problem, with its key.
func (t Table) Validate() error {
	var errs []error
	t.each("", func(path string, s *Setting) {
		report := func(path string, err error) {
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", path, err))
			}
		}
		if s.items != nil {
			s.items(func(i int, err error) { report(fmt.Sprintf("%s[%d]", path, i), err) })
		}
		report(path, s.check())
	})
	return errors.Join(errs...)
}

// each calls do for each setting that is not a group, with its path, such as
// "monero.action" or "receivers[].name".
func (t Table) each(prefix string, do func(path string, s *Setting)) {
	for i := range t {
		s := &t[i]
		if s.Group != nil {
			s.Group.each(prefix+s.Key+".", do)
			continue
		}
		do(prefix+s.Key, s)
		s.Items.each(prefix+s.Key+"[].", do)
	}
}

// And adds a check of the variable, which runs if the previous checks pass.
func (s Setting) And(check func() error) Setting {
	s.checks = append(s.checks, check)
	return s
}

// Usually sets the default in the docs, in Markdown, if it depends on the machine.
func (s Setting) Usually(text string) Setting {
	s.usual = text
	return s
}
