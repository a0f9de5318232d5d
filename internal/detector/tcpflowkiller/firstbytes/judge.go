package firstbytes

import "strings"

// An Answer is what a stream has said.
type Answer struct {
	Stop   Finding // what decides
	Found  Finding
	Listed Listed
	Name   string // that is listed, or of which an ending is
	Port   uint16 // that CONNECT or SOCKS asked for
	Done   bool   // it has nothing more to say
	InHTTP bool   // what it said is the body of a request
}

// A Question is the kind of the stream.
type Question int

// The kinds.
const (
	NoQuestion Question = iota
	UDPQuestion
	TCPQuestion
)

// Judge judges a stream by its first bytes. list returns the value of a name or 0; it is called
// for each ending too.
func Judge(stream []byte, q Question, d Decides, list func(name string) Listed) Answer {
	j := &judge{rest: stream, decides: d, list: list}
	switch q {
	case UDPQuestion:
		j.question(12)
	case TCPQuestion:
		j.question(14)
	default:
		j.stream()
	}
	return j.Answer
}

type judge struct {
	Answer
	rest    []byte
	decides Decides
	list    func(string) Listed
}

func (j *judge) find(f Finding) {
	j.Found |= f
	decides := j.decides.Plain
	if j.InHTTP {
		decides = j.decides.HTTP
	} else if j.Listed != 0 && j.Listed.Action() != NameObserve {
		decides = j.decides.Listed
	}
	j.Stop |= j.Found & decides
}

// next returns the next byte, false if there is none or a verdict is reached.
func (j *judge) next() (byte, bool) {
	if len(j.rest) == 0 || j.Stop != 0 || j.Done {
		return 0, false
	}
	c := j.rest[0]
	j.rest = j.rest[1:]
	return c, true
}

// number reads a number of that many bytes.
func (j *judge) number(bytes int) (n int, ok bool) {
	for range bytes {
		c, ok := j.next()
		if !ok {
			return 0, false
		}
		n = n<<8 | int(c)
	}
	return n, true
}

func (j *judge) skip(bytes int) bool {
	for range bytes {
		if _, ok := j.next(); !ok {
			return false
		}
	}
	return true
}

// stream reads what may come one behind another: white space, requests to proxies, and then
// what ends it.
func (j *judge) stream() {
	for proxies := 0; len(j.rest) > 0 && j.Stop == 0 && !j.Done; {
		c := j.rest[0]
		if isSpace(c) {
			j.rest = j.rest[1:]
			continue
		}
		if proxies > maxProxies {
			j.Done = true
			return
		}
		switch c {
		case '{', '[', '"', '-', 't', 'f', 'n', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			j.json()
		case handshake:
			j.hello()
		case 'P', 'C':
			proxies++
			j.http()
		case 0:
			proxies++
			j.proxy2()
		case 4:
			proxies++
			j.socks4()
		case 5:
			proxies++
			j.socks5()
		default:
			j.Done = true
		}
	}
}

// maxProxies is the number of proxies that a stream may ask, one through another.
const maxProxies = 8

// A name is put together as it comes.
type name struct {
	text []byte
	dot  bool
}

func (n *name) add(c byte) {
	switch {
	case len(n.text) >= 254:
	case c == '.':
		n.dot = true
	default:
		if n.dot && len(n.text) > 0 {
			n.text = append(n.text, '.')
		}
		n.dot = false
		n.text = append(n.text, fold(c))
	}
}

func fold(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// named looks for a name and its endings in the list, the longest first.
func (j *judge) named(n name, f Finding) {
	labels := strings.Split(string(n.text), ".")
	if len(n.text) == 0 {
		return
	}
	for i := max(0, len(labels)-8); i < len(labels); i++ {
		l := j.list(strings.Join(labels[i:], "."))
		if l == 0 {
			continue
		}
		j.Listed, j.Name = l, string(n.text)
		if f == Query || l.Action() > NameObserve {
			j.Stop |= f
		}
		j.find(f)
		return
	}
}

// question reads a DNS message with a head of that many bytes.
func (j *judge) question(head int) {
	for left := head; left > 0; left-- {
		c, ok := j.next()
		if !ok {
			return
		}
		if left == 10 && c&0x80 != 0 {
			j.Done = true
			return
		}
	}
	var n name
	for {
		length, ok := j.next()
		switch {
		case !ok:
			return
		case length == 0:
			if !j.skip(2) { // the type
				return
			}
			j.Done = true
			j.named(n, Query)
			return
		case length > 63:
			j.Done = true
			return
		}
		n.add('.')
		for range length {
			c, ok := j.next()
			if !ok {
				return
			}
			n.add(c)
		}
	}
}
