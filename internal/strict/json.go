package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
)

// parseJSON builds the tree from tokens, because Go values would hide duplicate keys.
func parseJSON(data []byte, found *problems) (root node, ok bool) {
	// Check the syntax first: the token reader's errors are less clear.
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		line := 0
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			before := data[:max(0, syntax.Offset-1)]
			line = 1 + bytes.Count(before, []byte("\n"))
		}
		found.add(line, "", "not valid JSON: "+err.Error())
		return node{}, false
	}

	tokens := jsonTokens{Decoder: json.NewDecoder(bytes.NewReader(data)), data: data, line: 1}
	tokens.UseNumber()
	root, err := tokens.value(0)
	if err != nil {
		found.add(tokens.line, "", err.Error())
	}
	return root, err == nil
}

type jsonTokens struct {
	*json.Decoder
	data   []byte
	offset int64 // of the end of the last token
	line   int   // of the last token
}

func (t *jsonTokens) next() (json.Token, error) {
	token, err := t.Token()
	// A token is on one line, so that of its end is that of its start.
	end := t.InputOffset()
	t.line += bytes.Count(t.data[t.offset:end], []byte("\n"))
	t.offset = end
	return token, err
}

func (t *jsonTokens) value(depth int) (node, error) {
	token, err := t.next()
	if err != nil {
		return node{}, err
	}
	n := node{line: t.line}
	switch token := token.(type) {
	case json.Delim:
		n.kind = aList
		if token == '{' {
			n.kind = aMap
		}
		return t.items(n, depth)
	case string:
		n.kind, n.text = aString, token
	case json.Number:
		n.kind, n.text = aNumber, token.String()
	case bool:
		n.kind, n.text = aBool, strconv.FormatBool(token)
	case nil:
		n.kind = aNull
	}
	return n, nil
}

func (t *jsonTokens) items(n node, depth int) (node, error) {
	if depth == maxDepth {
		return node{}, errTooDeep
	}
	for t.More() {
		item, err := t.value(depth + 1)
		if err != nil {
			return node{}, err
		}
		n.items = append(n.items, item)
	}
	_, err := t.next() // "]" or "}"
	return n, err
}
