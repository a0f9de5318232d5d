package firstbytes

const handshake = 22

// A hello reads the bytes of a ClientHello out of its records.
type hello struct {
	*judge
	record, body int
}

// next returns the next byte of the handshake.
func (h *hello) next() (byte, bool) {
	if h.body == 0 {
		return 0, false
	}
	for h.record == 0 {
		if len(h.rest) == 0 || h.Stop != 0 {
			return 0, false
		}
		if h.rest[0] != handshake {
			h.Done = true
			return 0, false
		}
		if !h.skip(3) {
			return 0, false
		}
		n, ok := h.number(2)
		if !ok {
			return 0, false
		}
		h.record = n
	}
	c, ok := h.judge.next()
	if ok {
		h.record--
		h.body--
	}
	return c, ok
}

func (h *hello) read(bytes int) (n int, ok bool) {
	for range bytes {
		c, ok := h.next()
		if !ok {
			return 0, false
		}
		n = n<<8 | int(c)
	}
	return n, true
}

// pass skips a field whose length is in its first bytes.
func (h *hello) pass(bytes int) bool {
	n, ok := h.read(bytes)
	if !ok {
		return false
	}
	_, ok = h.read(n)
	return ok
}

// hello reads a ClientHello.
func (j *judge) hello() {
	h := &hello{judge: j, body: 4}
	head, ok := h.read(4)
	if !ok {
		return
	}
	if head>>24 != 1 {
		j.Done = true
		return
	}
	h.body = head & 0xffffff
	alpn := h.fields()
	if h.body == 0 && !j.Done {
		j.Done = true
		if !alpn {
			j.find(Hello)
		}
	}
}

// fields reads what comes after the head, and reports whether ALPN is there.
func (h *hello) fields() (alpn bool) {
	if _, ok := h.read(34); !ok || !h.pass(1) || !h.pass(2) || !h.pass(1) {
		return false
	}
	if _, ok := h.read(2); !ok {
		return false
	}
	for {
		kind, ok := h.read(2)
		if !ok {
			return alpn
		}
		length, ok := h.read(2)
		if !ok {
			return alpn
		}
		if kind == 16 {
			alpn = true
		}
		if kind == 0 && length > 5 {
			ok = h.server(length)
		} else {
			_, ok = h.read(length)
		}
		if !ok {
			return alpn
		}
	}
}

// server reads the extension with the name of the server.
func (h *hello) server(length int) bool {
	if _, ok := h.read(3); !ok {
		return false
	}
	left, ok := h.read(2)
	if !ok {
		return false
	}
	length -= 5
	if left > 0 && left <= length {
		var n name
		for range left {
			c, ok := h.next()
			if !ok {
				return false
			}
			n.add(c)
		}
		length -= left
		h.named(n, Server)
	}
	_, ok = h.read(length)
	return ok
}
