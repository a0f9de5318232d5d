package setting

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cryptnono/cryptnono/internal/strict"
)

// single returns a setting with a single value, which read stores.
func single(key, help, kind string, usual any, schema map[string]any, read func(strict.Value)) Setting {
	return Setting{
		Key: key, Help: help, Type: kind, Default: usual, Schema: schema,
		read: func(v strict.Value, _ func(strict.Value)) { read(v) },
	}
}

// Bool declares a setting that is true or false.
func Bool(key string, p *bool, help string) Setting {
	return single(key, help, "boolean", *p, map[string]any{"type": "boolean"}, func(v strict.Value) { v.Bool(p) })
}

// Choice declares a setting with a fixed list of values. In a file, a value is its
// fmt.Sprint text in lower case. For off it can also be false, as which YAML 1.1, and so Helm,
// reads off.
func Choice[T comparable](key string, p *T, help string, choices ...T) Setting {
	name := func(c T) string { return strings.ToLower(fmt.Sprint(c)) }
	var names []string
	var values []any
	for _, c := range choices {
		names, values = append(names, name(c)), append(values, name(c))
	}
	hasOff := slices.Contains(names, "off")
	if hasOff {
		values = append(values, false)
	}
	check := func(name string) error {
		if !slices.Contains(names, name) {
			return fmt.Errorf("%q is not one of %s", name, strings.Join(names, ", "))
		}
		return nil
	}
	read := func(v strict.Value) {
		var text string
		get := v.Text
		if hasOff {
			get = v.Word
		}
		if !get(&text) {
			return
		}
		if hasOff && v.IsBool() && text == "false" {
			text = "off"
		}
		v.Check(check(text))
		if i := slices.Index(names, text); i >= 0 {
			*p = choices[i]
		}
	}
	s := single(key, help, "`"+strings.Join(names, "`, `")+"`", name(*p), map[string]any{"enum": values}, read)
	return s.And(func() error { return check(name(*p)) })
}

// Duration declares a setting that is a time from least to most.
func Duration(key string, p *time.Duration, least, most time.Duration, help string) Setting {
	// A number other than 0 has no unit: the schema then says that it wants a string, not that it wants less.
	schema := map[string]any{"anyOf": []any{
		map[string]any{"const": 0},
		map[string]any{"type": "string", "pattern": `^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`},
	}}
	s := single(key, help, "duration"+limits(least, most), short(*p), schema, func(v strict.Value) { v.Duration(p) })
	return s.And(func() error { return within(*p, least, most) })
}

// Int declares a setting that is a whole number from least to most.
func Int(key string, p *int, least, most int, help string) Setting {
	schema := map[string]any{"type": "integer", "minimum": least, "maximum": most}
	s := single(key, help, "number"+limits(least, most), *p, schema, func(v strict.Value) { v.Int(p) })
	return s.And(func() error { return within(*p, least, most) })
}

// Share declares a setting that is a number from 0 to 1.
func Share(key string, p *float64, help string) Setting {
	schema := map[string]any{"type": "number", "minimum": 0, "maximum": 1}
	s := single(key, help, "share", *p, schema, func(v strict.Value) { v.Float(p) })
	return s.And(func() error { return within(*p, 0, 1) })
}

// A Syntax restricts a text.
type Syntax struct {
	Name    string             // in the docs, in Markdown: "path" for Text, "paths" for Texts
	Check   func(string) error // nil for none
	Pattern string             // regular expression for the schema that matches every text that passes Check; empty for none
	Numbers bool               // the texts are of digits, and a file can have whole numbers in their place
}

func (x Syntax) check(text string) error {
	if x.Check == nil {
		return nil
	}
	return x.Check(text)
}

func (x Syntax) schema(pattern string) map[string]any {
	if pattern == "" {
		return map[string]any{"type": "string"}
	}
	if x.Numbers {
		return map[string]any{"type": []string{"string", "integer"}, "minimum": 0, "pattern": pattern}
	}
	return map[string]any{"type": "string", "pattern": pattern}
}

// Text declares a setting that is a text. It can be empty.
func Text(key string, p *string, x Syntax, help string) Setting {
	pattern := x.Pattern
	if pattern != "" {
		pattern = "^$|" + pattern
	}
	s := single(key, help, x.Name, *p, x.schema(pattern), func(v strict.Value) { v.Text(p) })
	return s.And(func() error {
		if *p == "" {
			return nil
		}
		return x.check(*p)
	})
}

// Texts declares a setting that is a list of texts. The list in a file replaces the default.
func Texts(key string, p *[]string, x Syntax, help string) Setting {
	schema := map[string]any{"type": "array", "items": x.schema(cmp.Or(x.Pattern, "."))}
	return Setting{
		Key: key, Help: help, Type: "list of " + x.Name, Default: append([]string{}, *p...), Schema: schema,
		read: func(v strict.Value, note func(strict.Value)) {
			*p = []string{}
			v.List(func(_ int, v strict.Value) {
				var text string
				read := v.Text
				if x.Numbers {
					read = v.Number
				}
				if read(&text) {
					note(v)
					v.Check(x.check(text))
					*p = append(*p, text)
				}
			})
		},
		items: func(report func(int, error)) {
			for i, text := range *p {
				report(i, x.check(text))
			}
		},
	}
}

// List declares a list of maps, which is empty by default. An item begins as usual; its Table
// has its settings, and its Check checks them together.
func List[T any, P interface {
	*T
	Table() Table
	Check() error
}](key string, p *[]T, usual T, help string) Setting {
	items := P(&usual).Table()
	return Setting{
		Key: key, Help: help, Type: "list of maps", Default: []string{}, Items: items,
		Schema: map[string]any{"type": "array", "items": map[string]any{
			"type": "object", "additionalProperties": false, "properties": items.Schema(),
		}},
		read: func(v strict.Value, note func(strict.Value)) {
			*p = nil
			v.List(func(_ int, v strict.Value) {
				note(v)
				item := usual
				P(&item).Table().Decode(v, note)
				v.Check(P(&item).Check())
				*p = append(*p, item)
			})
		},
		items: func(report func(int, error)) {
			for i := range *p {
				report(i, errors.Join(P(&(*p)[i]).Table().Validate(), P(&(*p)[i]).Check()))
			}
		},
	}
}

// Switches declares a map with fixed names, the keys of switches. Each has one of several
// values, or in a file also true or false, which Switch receives as text. In place of the map
// a file can have true or false.
func Switches[M interface {
	~map[string]T
	Switch(name, to string) error
	SwitchAll(on bool)
}, T ~string](key string, switches M, help string, choices ...T) Setting {
	values := []any{true, false}
	texts := make([]string, len(choices))
	for i, c := range choices {
		values, texts[i] = append(values, c), string(c)
	}
	usual := make(map[string]string, len(switches))
	names := make(map[string]any, len(switches))
	for name, to := range switches {
		usual[name], names[name] = string(to), map[string]any{"enum": values}
	}
	return Setting{
		Key: key, Help: help, Type: "boolean, or a map with `" + strings.Join(texts, "`, `") + "`", Default: usual,
		Schema: map[string]any{"type": []string{"boolean", "object"}, "additionalProperties": false, "properties": names},
		read: func(v strict.Value, note func(strict.Value)) {
			if !v.IsMap() && !v.IsBool() {
				v.Check(fmt.Errorf("want true, false, or a map such as {%s: %s}", slices.Min(slices.Collect(maps.Keys(usual))), choices[0]))
				return
			}
			var on bool
			if v.IsBool() && v.Bool(&on) {
				switches.SwitchAll(on)
				return
			}
			fields := make(map[string]func(strict.Value), len(usual))
			for name := range usual {
				fields[name] = func(v strict.Value) {
					var to string
					if note(v); v.Word(&to) {
						v.Check(switches.Switch(name, to))
					}
				}
			}
			v.Map(fields)
		},
	}
}

// Group declares a map of settings.
func Group(key string, table Table) Setting {
	return Setting{Key: key, Group: table, Schema: map[string]any{
		"type": "object", "additionalProperties": false, "properties": table.Schema(),
	}}
}

// within returns an error unless v is from least to most. NaN is an error.
func within[T cmp.Ordered](v, least, most T) error {
	if v >= least && v <= most {
		return nil
	}
	return fmt.Errorf("%s is not from %s to %s", short(v), short(least), short(most))
}

func limits[T cmp.Ordered](least, most T) string {
	return fmt.Sprintf(", `%s` to `%s`", short(least), short(most))
}

// short formats a duration without zeros at its end, as 10m for 10m0s.
func short(v any) string {
	text := fmt.Sprint(v)
	if d, ok := v.(time.Duration); ok {
		if d == 0 {
			return "0"
		}
		if strings.HasSuffix(text, "m0s") {
			text = strings.TrimSuffix(text, "0s")
		}
		if strings.HasSuffix(text, "h0m") {
			text = strings.TrimSuffix(text, "0m")
		}
	}
	return text
}
