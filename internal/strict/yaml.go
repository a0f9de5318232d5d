package strict

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

func parseYAML(data []byte, found *problems) (root node, ok bool) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	switch err := decoder.Decode(&first); {
	case errors.Is(err, io.EOF):
		found.add(0, "", "only comments; write {} if this is intended")
		return node{}, false
	case err != nil:
		addYAMLError(err, found)
		return node{}, false
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		found.add(second.Line, "", "a second document; put it into another file")
		return node{}, false
	case !errors.Is(err, io.EOF):
		addYAMLError(err, found)
		return node{}, false
	}
	root, err := fromYAML(first.Content[0], 0, found)
	if err != nil {
		found.add(root.line, "", err.Error())
	}
	return root, err == nil
}

// addYAMLError adds an error of the parser, which has the line in its text. For most
// errors this is the line on which the surrounding list or map begins, or the one before.
// An error without a line is one of line 1.
func addYAMLError(err error, found *problems) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if n, _ := fmt.Sscanf(text, "line %d:", &line); n == 1 {
		_, text, _ = strings.Cut(text, ": ")
	}
	found.add(line, "", "not valid YAML, here or further down: "+text)
}

// fromYAML converts the parser's tree. It reports unsupported nodes and converts them to
// nodes without a kind.
func fromYAML(y *yaml.Node, depth int, found *problems) (node, error) {
	n := node{line: y.Line}
	switch {
	case y.Kind == yaml.AliasNode:
		found.add(y.Line, "", "alias *"+y.Value+": write the value instead, or put text in quotes")
		return n, nil
	case y.Anchor != "":
		found.add(y.Line, "", "anchor &"+y.Anchor+": remove it, or put text in quotes")
		return n, nil
	case y.Style&yaml.TaggedStyle != 0:
		found.add(y.Line, "", "tag "+y.Tag+": remove it, or put text in quotes")
		return n, nil
	case y.Kind == yaml.ScalarNode:
		n.kind, n.text = scalarKind(y.ShortTag()), y.Value
		return n, nil
	case depth == maxDepth:
		return n, errTooDeep
	}
	n.kind = aList
	if y.Kind == yaml.MappingNode {
		n.kind = aMap
	}
	n.items = make([]node, 0, len(y.Content))
	for _, child := range y.Content {
		item, err := fromYAML(child, depth+1, found)
		if err != nil {
			return item, err
		}
		n.items = append(n.items, item)
	}
	return n, nil
}

func scalarKind(tag string) kind {
	switch tag {
	case "!!int", "!!float":
		return aNumber
	case "!!bool":
		return aBool
	case "!!null":
		return aNull
	case "!!timestamp":
		return aDate
	}
	return aString
}
