package firstbytes

import (
	"slices"
	"strconv"
	"strings"
)

// An object is a JSON-RPC call as far as it has come.
type object struct{ methods, params []string }

// says returns what a call says.
func (o *object) says() (f Finding) {
	method := func(names ...string) bool {
		return slices.ContainsFunc(o.methods, func(m string) bool { return slices.Contains(names, m) })
	}
	param := func(name string) bool { return slices.Contains(o.params, name) }
	if method("login") && param("login") && slices.ContainsFunc(loginParams[:], param) {
		f |= Login
	}
	if method(miningMethods[:]...) {
		f |= Mining
	}
	if method("eth_submitlogin") {
		f |= Eth
	}
	if method("submit") && param("job_id") && param("nonce") {
		f |= Submit
	}
	if method("getblocktemplate", "get_block_template") && param("wallet_address") {
		f |= Template
	}
	if method("eth_getwork", "eth_submithashrate") {
		f |= Work
	}
	return f
}

// json reads objects, one behind another.
func (j *judge) json() {
	var (
		call  object
		open  []byte // the brackets
		key   string
		value bool // a text is no key
	)
	for {
		c, ok := j.next()
		if !ok {
			return
		}
		switch {
		case strings.IndexByte(" \t\r\n", c) >= 0, c == '[' && len(open) == 0:
		case c == '{' || c == '[':
			open = append(open, c)
			value = c == '['
			if len(open) == 1 {
				call, key = object{}, ""
			}
		case c == '}' || c == ']':
			if len(open) > 0 {
				open = open[:len(open)-1]
			}
			value = true
		case c == ':':
			value = true
		case c == ',':
			value = len(open) > 0 && open[len(open)-1] == '['
		case c == '"' && len(open) > 0:
			text, ok := j.text()
			switch {
			case !ok:
				return
			case len(open) == 1 && !value:
				key = text
			case len(open) == 1 && key == "method":
				call.methods = append(call.methods, text)
			case len(open) == 2 && open[1] == '{' && !value && key == "params":
				call.params = append(call.params, text)
			default:
				continue
			}
			if f := call.says(); f != 0 {
				j.find(f)
			}
		case len(open) > 0 && (c >= '0' && c <= '9' || fold(c) >= 'a' && fold(c) <= 'z' || strings.IndexByte("-+.", c) >= 0):
		default:
			j.Done = true
			return
		}
	}
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
			text = append(text, rune(fold(c)))
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
		if n < 128 {
			n = uint64(fold(byte(n)))
		}
		text = append(text, rune(n))
	}
}
