package firstbytes

import "bytes"

// http reads the head of a request. What follows it is the body or, after CONNECT, another
// stream; so too after the one line of the PROXY protocol.
func (j *judge) http() {
	method, ok := j.method()
	if !ok {
		return
	}
	connect, line := method[0] == 'C', method[0] == 'P' && len(method) > 3 && method[3] == 'X'
	if connect && !j.target() {
		return
	}
	for ended := false; ; {
		c, ok := j.next()
		switch {
		case !ok:
			return
		case c == '\n' && (ended || line):
			if !connect && !line {
				j.InHTTP = true
				j.json()
			}
			return
		case c == '\n':
			ended = true
		case c != '\r':
			ended = false
		}
	}
}

// method reads the method of a request, and the space after it.
func (j *judge) method() (method []byte, ok bool) {
	for {
		c, ok := j.next()
		switch {
		case !ok:
			return nil, false
		case c == ' ':
			return method, true
		case c < 'A' || c > 'Z' || len(method) == 8:
			j.Done = true
			return nil, false
		}
		method = append(method, c)
	}
}

// target reads the target of CONNECT and the byte after it.
func (j *judge) target() bool {
	var n name
	for {
		c, ok := j.next()
		if !ok {
			return false
		}
		if c == '[' {
			for c != ']' {
				if c, ok = j.next(); !ok {
					return false
				}
			}
			continue
		}
		if !bytes.ContainsRune([]byte(": \r\n"), rune(c)) {
			n.add(c)
			continue
		}
		j.Port = 0
		j.named(n, Host)
		for c == ':' || c >= '0' && c <= '9' {
			if c, ok = j.next(); !ok {
				return false
			}
			if c >= '0' && c <= '9' {
				j.Port = j.Port*10 + uint16(c-'0')
			} else {
				break
			}
		}
		return true
	}
}

// socks5 reads a handshake of RFC 1928, with a log-in of RFC 1929.
func (j *judge) socks5() {
	j.rest = j.rest[1:]
	methods, ok := j.number(1)
	if !ok || !j.skip(methods) {
		return
	}
	for {
		version, ok := j.next()
		switch {
		case !ok:
			return
		case version == 5:
			j.socksRequest()
			return
		case version != 1:
			j.Done = true
			return
		}
		for range 2 { // user and password
			n, ok := j.number(1)
			if !ok || !j.skip(n) {
				return
			}
		}
	}
}

func (j *judge) socksRequest() {
	if !j.skip(2) {
		return
	}
	kind, ok := j.next()
	if !ok {
		return
	}
	switch kind {
	case 3:
		length, ok := j.number(1)
		if !ok {
			return
		}
		if length == 0 {
			j.Done = true
			return
		}
		var n name
		for range length {
			c, ok := j.next()
			if !ok {
				return
			}
			n.add(c)
		}
		j.named(n, Host)
	case 1:
		j.skip(4)
	default:
		j.skip(16)
	}
	if port, ok := j.number(2); ok {
		j.Port = uint16(port)
	}
}

// socks4 reads a request of version 4 or 4a.
func (j *judge) socks4() {
	j.rest = j.rest[1:]
	command, ok := j.next()
	if !ok {
		return
	}
	if command != 1 {
		j.Done = true
		return
	}
	port, ok := j.number(2)
	if !ok {
		return
	}
	j.Port = uint16(port)
	address, ok := j.number(4)
	if !ok {
		return
	}
	read := func(each func(byte)) bool {
		for {
			c, ok := j.next()
			if !ok {
				return false
			}
			if c == 0 {
				return true
			}
			each(c)
		}
	}
	if !read(func(byte) {}) || address == 0 || address > 255 {
		return
	}
	var n name
	if read(n.add) {
		j.named(n, Host)
	}
}

// proxy2 reads what the PROXY protocol, version 2, has after the first white space.
func (j *judge) proxy2() {
	if !j.skip(len("\x00\r\nQUIT\n") + 2) { // and version and family
		return
	}
	if length, ok := j.number(2); ok {
		j.skip(length)
	}
}
