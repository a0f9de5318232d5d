package main

import (
	"bytes"
	"encoding/json"
	"maps"

	"github.com/cryptnono/cryptnono/internal/detector"
)

// generated is the comment of what schema writes. All else in the file is by hand.
const generated = "generated from the settings by make chart-docs"

type object = map[string]any

// schema writes the settings into the chart's values.schema.json: the general ones on top,
// those of the detectors below "detectors". Its keys are sorted.
func schema(old string, kinds []detector.Kind) (string, error) {
	var root object
	if err := json.Unmarshal([]byte(old), &root); err != nil {
		return "", err
	}
	properties := child(root, "properties")
	mark(properties, general().Schema())

	detectors := child(child(properties, "detectors"), "properties")
	for _, k := range kinds {
		section := child(detectors, k.Name)
		section["type"], section["additionalProperties"] = "object", false
		mark(child(section, "properties"), k.Settings().Table().Schema())
	}

	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(root)
	return b.String(), err
}

// child returns the object at a key, which it makes if there is none.
func child(o object, key string) object {
	c, ok := o[key].(object)
	if !ok {
		c = make(object)
		o[key] = c
	}
	return c
}

// mark replaces the generated members of properties by new ones.
func mark(properties, all object) {
	maps.DeleteFunc(properties, func(_ string, p any) bool {
		s, ok := p.(object)
		return ok && s["$comment"] == generated
	})
	for key, s := range all {
		s.(object)["$comment"] = generated
		properties[key] = s
	}
}
