package rules

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"strings"

	"github.com/cryptnono/cryptnono/internal/strict"
)

// MaxTextBytes is the maximum length of a ban or allow pattern. It is far above that of
// pool names and miner options, and keeps a pasted key or script out of the tables in
// the kernel.
const MaxTextBytes = 4096

// add appends the rules of a file, whose outermost value is root, to s. The file's
// action, by default Kill, applies to all of its bans. After a problem, s must not be
// used.
func (s *Set) add(file string, root strict.Value) {
	first, action := len(s.Bans), Kill
	bans := func(kind Kind) func(strict.Value) {
		check := func(text string) error { return checkBan(kind, text) }
		return texts(file, kind.Key(), check, func(text string, origin Origin) {
			s.Bans = append(s.Bans, Ban{Kind: kind, Text: text, Origin: origin})
		})
	}
	root.Map(map[string]func(strict.Value){
		Word.Key():      bans(Word),
		Substring.Key(): bans(Substring),
		Program.Key():   bans(Program),
		KeyAllowed: texts(file, KeyAllowed, checkPattern, func(expr string, origin Origin) {
			s.Allowed = append(s.Allowed, Pattern{Expr: expr, Origin: origin})
		}),
		KeyAction: func(v strict.Value) {
			if v.Text((*string)(&action)) {
				_, err := ParseAction(string(action))
				v.Check(err)
			}
		},
	})
	for i := range s.Bans[first:] {
		s.Bans[first+i].Action = action
	}
}

// texts returns a reader of the list of strings at key, which calls add for each string.
func texts(file, key string, check func(string) error, add func(string, Origin)) func(strict.Value) {
	return func(list strict.Value) {
		list.List(func(i int, v strict.Value) {
			var text string
			if v.Text(&text) {
				v.Check(check(text))
				add(text, Origin{File: file, Line: v.Line(), Key: key, Index: i})
			}
		})
	}
}

func checkBan(kind Kind, text string) error {
	if err := checkText(text); err != nil {
		return err
	}
	if kind == Program && strings.Contains(text, "/") {
		return errors.New(`contains "/", but only base names are compared: write the part after the last "/"`)
	}
	return nil
}

func checkPattern(expr string) error {
	if err := checkText(expr); err != nil {
		return err
	}
	if _, err := syntax.Parse(expr, syntax.Perl); err != nil {
		return fmt.Errorf("not a regular expression (RE2): %w", err)
	}
	return nil
}

func checkText(text string) error {
	switch {
	case text == "":
		return errors.New("empty string")
	case strings.TrimSpace(text) == "":
		return errors.New("only white space, which nearly every command line contains")
	case strings.Contains(text, "\x00"):
		return errors.New("contains a NUL byte, which no argument can contain")
	case len(text) > MaxTextBytes:
		return fmt.Errorf("%d bytes long, at most %d are allowed", len(text), MaxTextBytes)
	}
	return nil
}
