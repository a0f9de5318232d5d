package setting

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/strict"
)

// things has a setting of each kind.
type things struct {
	on     bool
	level  slog.Level
	wait   time.Duration
	count  int
	part   float64
	path   string
	names  []string
	lamps  lamps
	nested struct{ deep int }
}

// lamps are Switches that can be bright, dim or out; true is dim.
type lamps map[string]string

func (l lamps) SwitchAll(on bool) {
	for name := range l {
		l[name] = map[bool]string{true: "dim", false: "out"}[on]
	}
}

func (l lamps) Switch(name, to string) error {
	if to == "blue" {
		return errors.New("not a brightness")
	}
	l[name] = to
	return nil
}

func defaults() *things {
	x := &things{level: slog.LevelInfo, wait: 90 * time.Minute, count: 2, part: .5, names: []string{"a", "b"}}
	x.lamps = lamps{"left": "dim", "right": "out"}
	x.nested.deep = 1
	return x
}

func (x *things) table() Table {
	short := Syntax{Name: "names", Pattern: "^.$", Check: func(s string) error {
		if len(s) != 1 {
			return errors.New("not one letter")
		}
		return nil
	}}
	path := Syntax{Name: "path", Pattern: "^/", Check: func(s string) error {
		if s[0] != '/' {
			return errors.New("not absolute")
		}
		return nil
	}}
	odd := func() error {
		if x.count%2 == 1 {
			return errors.New("odd")
		}
		return nil
	}
	return Table{
		Bool("on", &x.on, "Works."),
		Choice("level", &x.level, "How much.", slog.LevelInfo, slog.LevelWarn),
		Duration("wait", &x.wait, 0, 48*time.Hour, "How long."),
		Int("count", &x.count, 1, 9, "How many.").And(odd),
		Share("part", &x.part, "Which part."),
		Text("path", &x.path, path, "Where.").Usually("the host's"),
		Texts("names", &x.names, short, "Who."),
		Switches("lamps", x.lamps, "Which lamps.", "bright", "dim", "out").Usually("by lamp"),
		Group("nested", Table{Int("deep", &x.nested.deep, 0, 1, "How deep.")}),
	}
}

func decode(content string) (*things, []string, error) {
	x := defaults()
	var noted []string
	err := strict.Parse("f", []byte(content), func(v strict.Value) {
		x.table().Decode(v, func(v strict.Value) { noted = append(noted, v.Place()) })
	})
	return x, noted, err
}

func TestEachKindIsDecoded(t *testing.T) {
	got, noted, err := decode("on: true\nlevel: warn\nwait: 5m\ncount: 4\npart: 0.25\npath: /p\nnames: [c]\nlamps:\n  right: bright\n  left: false\nnested:\n  deep: 0\n")
	want := &things{on: true, level: slog.LevelWarn, wait: 5 * time.Minute, count: 4, part: .25, path: "/p", names: []string{"c"}, lamps: lamps{"left": "false", "right": "bright"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if places := strings.Join(noted, "; "); places != "f:1: on; f:2: level; f:3: wait; f:4: count; f:5: part; f:6: path; f:7: names; f:7: names[0]; "+
		"f:9: lamps; f:9: lamps.right; f:10: lamps.left; f:12: nested.deep" {
		t.Errorf("noted %s", places)
	}
}

func TestAKeyThatIsNotInTheFileKeepsItsDefault(t *testing.T) {
	if got, _, err := decode("path: ''"); err != nil || !reflect.DeepEqual(got, defaults()) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, _, err := decode("names: []"); err != nil || len(got.names) != 0 {
		t.Errorf("an empty list leaves %q, %v", got.names, err)
	}
}

func TestABooleanSwitchesAll(t *testing.T) {
	for content, want := range map[string]lamps{
		"lamps: true": {"left": "dim", "right": "dim"}, "lamps: False": {"left": "out", "right": "out"}, "lamps: {}": {"left": "dim", "right": "out"},
	} {
		if got, _, err := decode(content); err != nil || !reflect.DeepEqual(got.lamps, want) {
			t.Errorf("%s: got %v, %v, want %v", content, got.lamps, err, want)
		}
	}
}

func TestTheErrorForAValueNamesItsPlace(t *testing.T) {
	for content, want := range map[string]string{
		"on: 1":                "f:1: on: want a boolean, found a number (1); write true or false",
		"level: Info":          `f:1: level: "Info" is not one of info, warn`,
		"level: 1":             "f:1: level: want a string, found a number (1); put it in quotes",
		"wait: -1s":            "f:1: wait: -1s is not from 0 to 48h",
		"wait: 48h0m1s":        "f:1: wait: 48h0m1s is not from 0 to 48h",
		"count: 10":            "f:1: count: 10 is not from 1 to 9",
		"count: 1.5":           "f:1: count: 1.5 is not a whole number",
		"count: 3":             "f:1: count: odd",
		"count: -1":            "f:1: count: -1 is not from 1 to 9", // only the first check that fails
		"part: 1.1":            "f:1: part: 1.1 is not from 0 to 1",
		"path: p":              "f:1: path: not absolute",
		"names: c":             `f:1: names: want a list, found a string ("c")`,
		"names:\n- c\n- long":  "f:3: names[1]: not one letter",
		"lamps: dim":           `f:1: lamps: want true, false, or a map such as {left: bright}`,
		"lamps:\n  left: 1":    "f:2: lamps.left: want a string, found a number (1); put it in quotes",
		"lamps:\n  left: blue": "f:2: lamps.left: not a brightness",
		"lamps:\n  top: dim":   `f:2: lamps: unknown key "top"; known keys: left, right`,
		"nested: 1":            "f:1: nested: want a map, found a number (1)",
		"nested:\n  deep: 2":   "f:2: nested.deep: 2 is not from 0 to 1",
		"nested:\n  depth: 2":  `f:2: nested: unknown key "depth"; known keys: deep`,
		"of: 1":                `f:1: unknown key "of"; known keys: count, lamps, level, names, nested, on, part, path, wait`,
		"count: 0\npart: -1":   "f:1: count: 0 is not from 1 to 9\nf:2: part: -1 is not from 0 to 1",
	} {
		if _, _, err := decode(content); err == nil || err.Error() != want {
			t.Errorf("%q: got\n%v\nwant\n%s", content, err, want)
		}
	}
}

func TestOffIsAlsoFalse(t *testing.T) {
	for content, want := range map[string]string{
		"c: off": "off <nil>", "c: 'off'": "off <nil>", "c: false": "off <nil>", `{"c": false}`: "off <nil>",
		"c: true":    `low f:1: c: "true" is not one of low, off`,
		"c: 'false'": `low f:1: c: "false" is not one of low, off`,
	} {
		c := "low"
		table := Table{Choice("c", &c, "How.", "low", "off")}
		err := strict.Parse("f", []byte(content), func(v strict.Value) { table.Decode(v, func(strict.Value) {}) })
		if got := fmt.Sprint(c, " ", err); got != want {
			t.Errorf("%s: %s, want %s", content, got, want)
		}
	}
}

func TestAListOfTextsCanAlsoHaveNumbers(t *testing.T) {
	digits := Syntax{Name: "ports", Numbers: true, Pattern: "^[0-9]+$", Check: func(s string) error {
		if strings.Trim(s, "0123456789") != "" {
			return errors.New("not of digits")
		}
		return nil
	}}
	for content, want := range map[string]string{
		`p: [22, "80"]`:    "[22 80] <nil>",
		`{"p": [22,"80"]}`: "[22 80] <nil>",
		"p: [-1]":          "[-1] f:1: p[0]: not of digits",
		"p: [1.5]":         "[1.5] f:1: p[0]: not of digits",
		"p: [true]":        "[] f:1: p[0]: want a string, found a boolean (true); put it in quotes",
	} {
		var p []string
		table := Table{Texts("p", &p, digits, "Which.")}
		err := strict.Parse("f", []byte(content), func(v strict.Value) { table.Decode(v, func(strict.Value) {}) })
		if got := fmt.Sprint(p, err); got != want {
			t.Errorf("%s: %s, want %s", content, got, want)
		}
	}
	schema, err := json.Marshal(Texts("p", new([]string), digits, "Which.").Schema)
	if want := `{"items":{"minimum":0,"pattern":"^[0-9]+$","type":["string","integer"]},"type":"array"}`; err != nil || string(schema) != want {
		t.Errorf("%s, %v", schema, err)
	}
}

func TestValidateNamesTheKeyOfEachInvalidValue(t *testing.T) {
	x := defaults()
	if err := x.table().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	*x = things{level: 3, wait: -1, count: 3, part: 2, path: "p", names: []string{"a", ""}}
	x.nested.deep = 7
	const want = `level: "info+3" is not one of info, warn
wait: -1ns is not from 0 to 48h
count: odd
part: 2 is not from 0 to 1
path: not absolute
names[1]: not one letter
nested.deep: 7 is not from 0 to 1`
	if err := x.table().Validate(); err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestTheSchemaHasTypesAndLimits(t *testing.T) {
	got, err := json.Marshal(defaults().table().Schema())
	const want = `{"count":{"maximum":9,"minimum":1,"type":"integer"},` +
		`"lamps":{"additionalProperties":false,"properties":{"left":{"enum":[true,false,"bright","dim","out"]},"right":{"enum":[true,false,"bright","dim","out"]}},"type":["boolean","object"]},` +
		`"level":{"enum":["info","warn"]},` +
		`"names":{"items":{"pattern":"^.$","type":"string"},"type":"array"},` +
		`"nested":{"additionalProperties":false,"properties":{"deep":{"maximum":1,"minimum":0,"type":"integer"}},"type":"object"},` +
		`"on":{"type":"boolean"},"part":{"maximum":1,"minimum":0,"type":"number"},"path":{"pattern":"^$|^/","type":"string"},` +
		`"wait":{"anyOf":[{"const":0},{"pattern":"^(0|([0-9]+(\\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$","type":"string"}]}}`
	if err != nil || string(got) != want {
		t.Errorf("got\n%s, %v\nwant\n%s", got, err, want)
	}
}

func TestDocsHaveARowForEachSetting(t *testing.T) {
	const want = "| `on` | boolean | `false` | Works. |\n" +
		"| `level` | `info`, `warn` | `info` | How much. |\n" +
		"| `wait` | duration, `0` to `48h` | `1h30m` | How long. |\n" +
		"| `count` | number, `1` to `9` | `2` | How many. |\n" +
		"| `part` | share | `0.5` | Which part. |\n" +
		"| `path` | path | the host's | Where. |\n" +
		"| `names` | list of names | `a`, `b` | Who. |\n" +
		"| `lamps` | boolean, or a map with `bright`, `dim`, `out` | by lamp | Which lamps. |\n" +
		"| `nested.deep` | number, `0` to `1` | `1` | How deep. |\n"
	if got := defaults().table().Rows(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var text string
	var list []string
	empty := Table{Text("t", &text, Syntax{Name: "text"}, "T."), Texts("l", &list, Syntax{Name: "texts"}, "L.")}
	if got := empty.Rows(); got != "| `t` | text | empty | T. |\n| `l` | list of texts | none | L. |\n" {
		t.Errorf("got\n%s", got)
	}
}

// A hook is an item of a List.
type hook struct {
	name string
	to   []string
	size int
}

func (h *hook) Table() Table {
	return Table{
		Text("name", &h.name, Syntax{Name: "text"}, "Who."),
		Texts("to", &h.to, Syntax{Name: "names"}, "Whom."),
		Int("size", &h.size, 1, 9, "How big."),
	}
}

func (h *hook) Check() error {
	if h.name == "" {
		return errors.New("no name")
	}
	return nil
}

func TestAListOfMaps(t *testing.T) {
	var hooks []hook
	table := Table{List("hooks", &hooks, hook{to: []string{"all"}, size: 3}, "Which.")}
	for content, want := range map[string]string{
		"hooks: []": "[] <nil>",
		"hooks: [{name: a}, {name: b, to: [c], size: 4}]": "[{a [all] 3} {b [c] 4}] <nil>",
		"hooks:\n- name: a\n  size: 0\n- to: []":          "[{a [all] 0} { [] 3}] f:3: hooks[0].size: 0 is not from 1 to 9\nf:4: hooks[1]: no name",
		"hooks: [a]":                                      `[{ [all] 3}] f:1: hooks[0]: want a map, found a string ("a")` + "\nf:1: hooks[0]: no name",
		"hooks: [{nam: a}]":                               `[{ [all] 3}] f:1: hooks[0]: unknown key "nam"; known keys: name, size, to` + "\nf:1: hooks[0]: no name",
		"hooks: {a: {size: 1}}":                           "[] f:1: hooks: want a list, found a map",
	} {
		var places []string
		err := strict.Parse("f", []byte(content), func(v strict.Value) { table.Decode(v, func(v strict.Value) { places = append(places, v.Path()) }) })
		if got := fmt.Sprint(hooks, " ", err); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", content, got, want)
		}
		if content == "hooks: [{name: a}, {name: b, to: [c], size: 4}]" && !slices.Contains(places, "hooks[1].to[0]") {
			t.Errorf("noted %q", places)
		}
	}
	hooks = []hook{{name: "a", size: 1}, {size: 10}}
	if err := table.Validate(); err == nil || err.Error() != "hooks[1]: size: 10 is not from 1 to 9\nno name" {
		t.Errorf("got %v", err)
	}
	const rows = "| `hooks` | list of maps | none | Which. |\n| `hooks[].name` | text | empty | Who. |\n" +
		"| `hooks[].to` | list of names | `all` | Whom. |\n| `hooks[].size` | number, `1` to `9` | `3` | How big. |\n"
	if got := table.Rows(); got != rows {
		t.Errorf("got\n%s", got)
	}
	if got := table.Values(""); got != "# -- (list of maps) Which.\nhooks: []\n" {
		t.Errorf("got\n%s", got)
	}
	schema, err := json.Marshal(table.Schema())
	const want = `{"hooks":{"items":{"additionalProperties":false,"properties":{"name":{"type":"string"},"size":{"maximum":9,"minimum":1,"type":"integer"},` +
		`"to":{"items":{"pattern":".","type":"string"},"type":"array"}},"type":"object"},"type":"array"}}`
	if err != nil || string(schema) != want {
		t.Errorf("got\n%s, %v", schema, err)
	}
}

// Values writes a valid settings file with the defaults.
func TestTheValuesAreTheDefaults(t *testing.T) {
	text := defaults().table().Values("  ")
	if want := "  # -- (duration, `0` to `48h`) How long.\n  wait: 1h30m\n"; !strings.Contains(text, want) {
		t.Errorf("%q is not in\n%s", want, text)
	}
	if want := "  lamps:\n    left: dim\n    right: out\n"; !strings.Contains(text, want) {
		t.Errorf("%q is not in\n%s", want, text)
	}
	x := &things{lamps: lamps{"left": "", "right": ""}}
	err := strict.Parse("f", []byte(text), func(v strict.Value) { x.table().Decode(v, func(strict.Value) {}) })
	if err != nil || !reflect.DeepEqual(x, defaults()) {
		t.Errorf("got %+v, %v from\n%s", x, err, text)
	}
}
