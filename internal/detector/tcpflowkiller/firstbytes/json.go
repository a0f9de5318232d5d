package firstbytes

import (
	"slices"
	"strconv"
	"strings"
)

// An object is a JSON-RPC call as far as it has come.
type object struct{ keys, methods, params []string }

// isCall reports whether an object is what a client of a pool sends, by its keys: a record of a log has
// others, and who writes the text that is logged does not choose them all.
func (o *object) isCall() bool {
	has := func(key string) bool { return slices.Contains(o.keys, key) }
	others := 0
	for _, key := range o.keys {
		switch {
		case slices.Contains(logKeys[:], key):
			return false
		case !slices.Contains(callKeys[:], key):
			others++
		}
	}
	return has("id") && (has("params") || has("body")) && others <= 1
}

// says returns what a call says, nothing if an object is none.
func (o *object) says() (f Finding) {
	if !o.isCall() {
		return 0
	}
	common := func(has, of []string) bool {
		return slices.ContainsFunc(has, func(text string) bool { return slices.Contains(of, text) })
	}
	method := func(name string) bool { return slices.Contains(o.methods, name) }
	methodOf := func(kind string) bool { return common(o.methods, stratum()[kind]) }
	param := func(name string) bool { return slices.Contains(o.params, name) }
	if method("login") && param("login") && slices.ContainsFunc(loginParams[:], param) {
		f |= Login
	}
	if methodOf("mining") {
		f |= Mining
	}
	if methodOf("eth") {
		f |= Eth
	}
	if method("submit") && common(o.params, stratum()["job"]) && param("nonce") {
		f |= Submit
	}
	if methodOf("template") && param("wallet_address") {
		f |= Template
	}
	if methodOf("work") {
		f |= Work
	}
	return f
}

// An rpc is a stream of calls as far as it has come.
type rpc struct {
	call  object
	open  []byte // the brackets
	key   string
	value bool // a text is no key
}

// json reads objects, one behind another. What one says is known at its end.
func (j *judge) json() {
	var r rpc
	for {
		c, ok := j.next()
		inside := len(r.open) > 0
		switch {
		case !ok:
			return
		case c == '"':
			text, ok := j.text()
			if !ok {
				return
			}
			r.text(text)
		case !r.mark(c, j.InHTTP):
			j.Done = true
			return
		case inside && len(r.open) == 0:
			if f := r.call.says(); f != 0 {
				j.find(f)
			}
		}
	}
}

// text takes a string in.
func (r *rpc) text(text string) {
	switch {
	case len(r.open) == 1 && !r.value:
		r.key = text
		r.call.keys = append(r.call.keys, text)
	case len(r.open) == 1 && r.key == "method":
		r.call.methods = append(r.call.methods, text)
	case len(r.open) == 2 && r.open[1] == '{' && !r.value && r.key == "params":
		r.call.params = append(r.call.params, text)
	}
}

// mark takes a byte outside of strings in, and returns whether it may be there: in the body of an HTTP
// request or not.
func (r *rpc) mark(c byte, inHTTP bool) bool {
	switch {
	case isSpace(c), c == '[' && len(r.open) == 0:
	case c == '{' || c == '[':
		r.open = append(r.open, c)
		r.value = c == '['
		if len(r.open) == 1 {
			r.call, r.key = object{}, ""
		}
	case c == '}' || c == ']':
		if len(r.open) > 0 {
			r.open = r.open[:len(r.open)-1]
		}
		r.value = true
	case c == ':' && len(r.open) > 0:
		r.value = true
	case c == ',':
		if len(r.open) > 0 {
			r.value = r.open[len(r.open)-1] == '['
		}
	default: // behind an object, pools skip what is none
		return ofLiteral(c) || len(r.open) == 0 && r.value && !inHTTP
	}
	return true
}

// isSpace reports whether pools trim a byte.
func isSpace(c byte) bool { return strings.IndexByte(" \t\n\v\f\r\xc2\xa0\xef\xbb\xbf", c) >= 0 }

// ofLiteral reports whether a byte may be of a number, or of true, false and null.
func ofLiteral(c byte) bool {
	return c >= '0' && c <= '9' || fold(c) >= 'a' && fold(c) <= 'z' || strings.IndexByte("-+.", c) >= 0
}

// longS returns what a byte of a text stands for: the long s of Unicode, 0xc5 0xbf in UTF-8, is a small
// one of S for what does not distinguish case.
func longS(c byte) []rune {
	switch c {
	case "ſ"[0]:
		return nil
	case "ſ"[1]:
		return []rune{'s'}
	}
	return []rune{rune(fold(c))}
}

// text reads a string after its first quote, in lower case.
func (j *judge) text() (string, bool) {
	var text []rune
	for {
		c, ok := j.next()
		switch {
		case !ok:
			return "", false
		case c == '"':
			return string(text), true
		case c != '\\':
			text = append(text, longS(c)...)
			continue
		}
		if c, ok = j.next(); !ok {
			return "", false
		}
		if c != 'u' {
			text = append(text, rune(fold(c)))
			continue
		}
		var digits []byte
		for range 4 {
			if c, ok = j.next(); !ok {
				return "", false
			}
			if _, err := strconv.ParseUint(string(c), 16, 8); err != nil {
				j.Done = true
				return "", false
			}
			digits = append(digits, c)
		}
		n, _ := strconv.ParseUint(string(digits), 16, 16)
		if n == 'ſ' {
			n = 's'
		}
		if n < 128 {
			n = uint64(fold(byte(n)))
		}
		text = append(text, rune(n))
	}
}
