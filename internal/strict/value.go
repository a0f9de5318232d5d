package strict

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A node is a value of a JSON or YAML file.
type node struct {
	kind  kind // empty if the parser has reported the value
	line  int
	text  string // of a scalar
	items []node // of a list; of a map, each key followed by its value
}

// A kind is the type of a node, as text for error messages.
type kind string

const (
	aMap    kind = "a map"
	aList   kind = "a list"
	aString kind = "a string"
	aNumber kind = "a number"
	aBool   kind = "a boolean"
	aDate   kind = "a date"
	aNull   kind = "null"
)

// A Value is a value of a file with its place. Its methods collect problems, which Read
// or Parse returns.
type Value struct {
	node     *node
	path     string // such as "monero.action"; empty for the outermost value
	problems *problems
}

// Line returns the line on which v begins, from 1.
func (v Value) Line() int { return v.node.line }

// Path returns the keys and indexes that lead to v, such as "monero.action" or
// "rules[0]"; it is empty for the outermost value.
func (v Value) Path() string { return v.path }

// Place returns "FILE:LINE: PATH", as in the problems of v.
func (v Value) Place() string {
	return fmt.Sprintf("%s:%d: %s", v.problems.file, v.node.line, v.path)
}

// Check adds err, if it is not nil, as a problem of v.
func (v Value) Check(err error) {
	if err != nil {
		v.problems.add(v.node.line, v.path, err.Error())
	}
}

// IsMap reports whether v is a map.
func (v Value) IsMap() bool { return v.node.kind == aMap }

// IsList reports whether v is a list.
func (v Value) IsList() bool { return v.node.kind == aList }

// IsBool reports whether v is true or false.
func (v Value) IsBool() bool { return v.node.kind == aBool }

// Map calls, for each key in v, the function for that key with its value. Duplicate and
// unknown keys are problems.
func (v Value) Map(fields map[string]func(Value)) {
	if !v.is(aMap) {
		return
	}
	v.entries(func(name string, key, value Value) {
		if field, known := fields[name]; known {
			field(value)
			return
		}
		names := strings.Join(slices.Sorted(maps.Keys(fields)), ", ")
		key.Check(fmt.Errorf("unknown key %q; known keys: %s", name, names))
	})
}

// Entries calls each with every key in v, which can be any string, and its value. Duplicate
// keys are problems.
func (v Value) Entries(each func(name string, value Value)) {
	if v.is(aMap) {
		v.entries(func(name string, _, value Value) { each(name, value) })
	}
}

func (v Value) entries(each func(name string, key, value Value)) {
	lines := make(map[string]int) // of the keys so far
	for i := 0; i+1 < len(v.node.items); i += 2 {
		key := Value{&v.node.items[i], v.path, v.problems}
		if !key.is(aString) {
			continue
		}
		name := key.node.text
		if line, duplicate := lines[name]; duplicate {
			key.Check(fmt.Errorf("duplicate key %q, first on line %d", name, line))
			continue
		}
		lines[name] = key.node.line
		path := strings.TrimPrefix(v.path+"."+name, ".")
		each(name, key, Value{&v.node.items[i+1], path, v.problems})
	}
}

// List calls each with every item of v and its index, from 0.
func (v Value) List(each func(i int, item Value)) {
	if !v.is(aList) {
		return
	}
	for i := range v.node.items {
		path := v.path + "[" + strconv.Itoa(i) + "]"
		each(i, Value{&v.node.items[i], path, v.problems})
	}
}

// Text stores the string v in s and returns true, or false if v is not a valid string.
// The string can be empty and is valid UTF-8.
func (v Value) Text(s *string) bool {
	if !v.is(aString) {
		return false
	}
	// JSON decoders replace an unpaired surrogate by it, editors text that they cannot
	// decode.
	if strings.ContainsRune(v.node.text, utf8.RuneError) {
		v.Check(errors.New("contains U+FFFD, the replacement for an invalid character"))
		return false
	}
	*s = v.node.text
	return true
}

// Word is Text for a value that can also be a boolean, whose text is "true" or "false".
func (v Value) Word(s *string) bool {
	if v.node.kind != aBool {
		return v.Text(s)
	}
	*s = strings.ToLower(v.node.text) // YAML also has True and TRUE
	return true
}

// Number is Text for a value that can also be a number, whose text is as in the file.
func (v Value) Number(s *string) bool {
	if v.node.kind != aNumber {
		return v.Text(s)
	}
	*s = v.node.text
	return true
}

// Bool stores v, true or false, in b and returns true, or false if v is not a boolean.
func (v Value) Bool(b *bool) bool {
	var text string
	if !v.is(aBool) || !v.Word(&text) {
		return false
	}
	*b = text == "true"
	return true
}

// Int stores v, a whole number, in n.
func (v Value) Int(n *int) {
	if !v.is(aNumber) {
		return
	}
	parsed, err := strconv.Atoi(v.node.text)
	if err != nil {
		v.Check(fmt.Errorf("%s is not a whole number", v.node.text))
		return
	}
	*n = parsed
}

// Float stores v, a number, in f.
func (v Value) Float(f *float64) {
	if !v.is(aNumber) {
		return
	}
	parsed, err := strconv.ParseFloat(v.node.text, 64)
	if err != nil || math.IsNaN(parsed) || math.IsInf(parsed, 0) {
		v.Check(fmt.Errorf("%s is not a number", v.node.text))
		return
	}
	*f = parsed
}

// Duration stores v in d: a string such as "10m", or 0.
func (v Value) Duration(d *time.Duration) {
	if v.node.kind != aNumber && !v.is(aString) {
		return
	}
	parsed, err := time.ParseDuration(v.node.text)
	if err != nil {
		v.Check(fmt.Errorf("%q is not a duration such as 90s, 10m or 1h30m", v.node.text))
		return
	}
	*d = parsed
}

// is reports whether v is of a kind, and adds a problem if it is not.
func (v Value) is(want kind) bool {
	found := v.node.kind
	if found == want {
		return true
	}
	if found == "" {
		return false
	}
	what := fmt.Sprintf("want %s, found %s", want, found)
	switch text := v.node.text; {
	case found == aString:
		what += fmt.Sprintf(" (%q)", text)
	case found == aMap && want == aString:
		what += "; put text with a colon in quotes"
	case text != "":
		what += fmt.Sprintf(" (%s)", text)
		if want == aString {
			what += "; put it in quotes"
		}
	}
	if want == aBool {
		what += "; write true or false"
	}
	v.Check(errors.New(what))
	return false
}
