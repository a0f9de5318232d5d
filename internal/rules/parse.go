package rules

import (
	"errors"
	"fmt"
	"maps"
	"regexp/syntax"
	"strings"

	"github.com/cryptnono/cryptnono/internal/strict"
)

// MaxTextBytes is the maximum length of a ban or allow pattern. It is far above that of
// pool names and miner options, and keeps a pasted key or script out of the tables in
// the kernel.
const MaxTextBytes = 4096

// add appends the rules of a file, whose outermost value is root, to s. What the file says
// once, such as its action, applies to all of its bans. Its expressions can refer to its
// own parts and to known. After a problem, s must not be used.
func (s *Set) add(file string, root strict.Value, known parts) parts {
	first, firstAddress, firstName := len(s.Bans), len(s.Addresses), len(s.Names)
	all := Ban{Action: Kill}
	own := maps.Clone(known)
	var lists []func() // read when the parts are known, wherever in the file these are
	bans := func(kind Kind, read func(strict.Value, *Ban)) func(strict.Value) {
		return func(list strict.Value) {
			lists = append(lists, func() {
				list.List(func(i int, v strict.Value) {
					ban := Ban{Kind: kind, Origin: Origin{File: file, Line: v.Line(), Key: kind.Key(), Index: i}}
					read(v, &ban)
					s.Bans = append(s.Bans, ban)
				})
			})
		}
	}
	text := func(v strict.Value, ban *Ban) {
		if v.Text(&ban.Text) {
			v.Check(checkBan(ban.Kind, ban.Text))
		}
	}
	spares := func(who Spares) func(strict.Value) {
		return func(v strict.Value) {
			var yes bool
			if v.Bool(&yes); yes {
				all.Spares |= who
			}
		}
	}
	fields := map[string]func(strict.Value){
		Word.Key():      bans(Word, text),
		Substring.Key(): bans(Substring, text),
		Program.Key():   bans(Program, text),
		Expression.Key(): bans(Expression, func(v strict.Value, ban *Ban) {
			ban.Text, ban.Parts = own.read(v)
		}),
		Combination.Key(): bans(Combination, func(v strict.Value, ban *Ban) {
			ban.Text, ban.Parts = own.readAll(v)
		}),
		KeyParts: func(v strict.Value) { own.define(v) },
		KeyAllowed: texts(file, KeyAllowed, checkPattern, func(expr string, origin Origin) {
			s.Allowed = append(s.Allowed, Pattern{Expr: expr, Origin: origin})
		}),
		KeyAction:      func(v strict.Value) { readAction(v, &all.Action) },
		KeyEnvironment: func(v strict.Value) { readAction(v, &all.Environment) },
		KeySpareShells: spares(Shells),
		KeySpareRoot:   spares(NodeRoot),
	}
	maps.Copy(fields, s.network(file))
	root.Map(fields)
	for _, read := range lists {
		read()
	}
	for i := range s.Bans[first:] {
		ban := &s.Bans[first+i]
		ban.Action, ban.Environment, ban.Spares = all.Action, all.Environment, all.Spares
	}
	for i := range s.Addresses[firstAddress:] {
		s.Addresses[firstAddress+i].Action = all.Action
	}
	for i := range s.Names[firstName:] {
		s.Names[firstName+i].Action = all.Action
	}
	return own
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

func readAction(v strict.Value, action *Action) {
	if v.Word((*string)(action)) {
		_, err := ParseAction(string(*action))
		v.Check(err)
	}
}

func checkBan(kind Kind, text string) error {
	if err := checkText(text); err != nil {
		return err
	}
	if kind != Program {
		return nil
	}
	switch at := strings.Index(text, "*"); {
	case strings.Contains(text, "/"):
		return errors.New(`contains "/", but only base names are compared: write the part after the last "/"`)
	case at == 0:
		return errors.New(`begins with "*", but only the end of a name can be left open`)
	case at > 0 && at < len(text)-1:
		return errors.New(`contains "*" before its end, but only the end of a name can be left open`)
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
	case strings.HasSuffix(text, "\n"):
		return errors.New("ends with a line break, as a block (|) in YAML does: write it on one line")
	case strings.Contains(text, "\x00"):
		return errors.New("contains a NUL byte, which no argument can contain")
	case len(text) > MaxTextBytes:
		return fmt.Errorf("%d bytes long, at most %d are allowed", len(text), MaxTextBytes)
	}
	return nil
}
