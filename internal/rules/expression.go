package rules

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/cryptnono/cryptnono/internal/strict"
)

// MaxExpressionBytes is the maximum length of an expression whose references to parts are
// replaced.
const MaxExpressionBytes = 1 << 16

// ParseExpression parses an expression of an Expression or a Combination. It is searched in
// a text, ignoring case. Each byte of the text counts as one character: a byte from 0x80 on
// is the character with that number. Expressions have only ASCII characters, so bytes of
// UTF-8 are matched by the likes of "." and "[^a]" alone.
func ParseExpression(expr string) (*syntax.Regexp, error) {
	// Without the group first: a)|(b would become valid inside it.
	if _, err := syntax.Parse(expr, syntax.Perl); err != nil {
		return nil, err
	}
	re, err := syntax.Parse("(?i)(?:"+expr+")", syntax.Perl)
	if err != nil { // an unterminated \Q in expr quotes the end of the group too
		re, err = syntax.Parse("(?i)(?:"+expr+"\\E)", syntax.Perl)
	}
	return re, err
}

// parts are expressions that others can refer to, by name.
type parts map[string]string

// define reads a map from names to lists of expressions. A part matches if any of its
// expressions does.
func (p parts) define(all strict.Value) {
	all.Entries(func(name string, list strict.Value) {
		if !partName.MatchString(name) {
			list.Check(fmt.Errorf("%q is not a name of letters, digits and hyphens", name))
		}
		var any []string
		list.List(func(_ int, v strict.Value) {
			if _, exprs := p.read(v); exprs != nil {
				any = append(any, "(?:"+exprs[0]+")")
			}
		})
		p[name] = "(?:" + strings.Join(any, "|") + ")"
	})
}

// readAll reads a list of expressions that must all match.
func (p parts) readAll(list strict.Value) (text string, exprs []string) {
	var texts []string
	list.List(func(_ int, v strict.Value) {
		text, expr := p.read(v)
		texts, exprs = append(texts, text), append(exprs, expr...)
	})
	if list.IsList() && len(texts) < 2 {
		list.Check(fmt.Errorf("has fewer than two expressions: use %s for one", Expression.Key()))
	}
	return strings.Join(texts, " + "), exprs
}

// read reads an expression, as written and with its references replaced.
func (p parts) read(v strict.Value) (text string, exprs []string) {
	if !v.Text(&text) {
		return "", nil
	}
	expr, err := p.expand(text)
	if err == nil {
		err = checkExpression(text, expr)
	}
	if err != nil {
		v.Check(err)
		return text, nil
	}
	return text, []string{expr}
}

var (
	partName  = regexp.MustCompile(`^[A-Za-z0-9-]+$`)
	reference = regexp.MustCompile(`\$\{([A-Za-z0-9-]+)\}`)
	bare      = regexp.MustCompile(`\$([A-Za-z0-9-]+)`)
)

// expand replaces each ${name} by the part of that name.
func (p parts) expand(text string) (expr string, err error) {
	for _, ref := range bare.FindAllStringSubmatch(text, -1) {
		if _, known := p[ref[1]]; known {
			return "", fmt.Errorf("%q is the end of the text and then a name: write ${%s} for the part", ref[0], ref[1])
		}
	}
	expr = reference.ReplaceAllStringFunc(text, func(ref string) string {
		name := ref[2 : len(ref)-1]
		part, known := p[name]
		if !known {
			names := strings.Join(slices.Sorted(maps.Keys(p)), ", ")
			err = errors.Join(err, fmt.Errorf("unknown part %q; known parts here: %s", name, names))
		}
		return part
	})
	return expr, err
}

func checkExpression(text, expr string) error {
	if err := checkText(text); err != nil {
		return err
	}
	for _, r := range text {
		if r < ' ' && r != '\t' && r != '\n' || r == '\x7f' {
			return fmt.Errorf(`contains the control character %q, as "\b" does in double quotes: write expressions in single quotes`, r)
		}
		if r > '~' {
			return fmt.Errorf("contains %q, but an expression has only ASCII characters: use %s for it", r, Word.Key())
		}
	}
	if len(expr) > MaxExpressionBytes {
		return fmt.Errorf("%d bytes long with its parts, at most %d are allowed", len(expr), MaxExpressionBytes)
	}
	if _, err := ParseExpression(expr); err != nil {
		return fmt.Errorf("not a regular expression (RE2): %w", err)
	}
	return nil
}
