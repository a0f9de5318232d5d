package firstbytes

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// A generator writes streams of the grammar that miners speak, and similar ones that they do not.
type generator struct{ *rand.Rand }

func pick[T any](g generator, of ...T) T { return of[g.IntN(len(of))] }

// space returns white space, often none.
func (g generator) space() string {
	return strings.Repeat(pick(g, "", "", "", " ", "\n", "\t", "\r\n"), g.IntN(3))
}

// manySpaces returns white space, sometimes so much that it takes many pieces of a packet.
func (g generator) manySpaces() string {
	if g.IntN(8) > 0 {
		return g.space()
	}
	return strings.Repeat(pick(g, " ", "\n", "\ufeff", "\u00a0"), g.IntN(pick(g, 130, 600, 3000)))
}

// text writes a JSON string, with escapes at random.
func (g generator) text(s string) string {
	var b strings.Builder
	often := pick(g, 0, 0, 0, 3, 20)
	for _, c := range []byte(s) {
		switch {
		case c == '"' || c == '\\':
			b.WriteString("\\" + string(c))
		case g.IntN(100) < often || c < ' ':
			fmt.Fprintf(&b, pick(g, `\u%04x`, `\u%04X`), c)
		case c == '/' && often > 0:
			b.WriteString(`\/`)
		default:
			b.WriteByte(c)
		}
	}
	return `"` + b.String() + `"`
}

func (g generator) word() string {
	return pick(g, "x", "", "login", "pass", "method", "params", "mining.subscribe", "jsonrpc", "a \"quoted\" {word}", "48edfHu7V9Z84YzzMa6", "é", "eth_getWork", "id")
}

// value writes any JSON value.
func (g generator) value(deep int) string {
	switch kind := g.IntN(8); {
	case kind < 2:
		return g.text(g.word())
	case kind < 4:
		return pick(g, "0", "-1.5e+10", "true", "false", "null", "12345678")
	case kind < 6 || deep == 0:
		return g.text(g.word())
	case kind == 6:
		var items []string
		for range g.IntN(4) {
			items = append(items, g.value(deep-1))
		}
		return "[" + g.space() + strings.Join(items, g.space()+","+g.space()) + g.space() + "]"
	}
	fields := map[string]string{}
	for range g.IntN(4) {
		fields[g.word()] = g.value(deep - 1)
	}
	return g.object(fields)
}

// object writes an object, its fields in any order.
func (g generator) object(fields map[string]string) string {
	var all []string
	for key, value := range fields {
		all = append(all, g.text(key)+g.space()+":"+g.space()+value)
	}
	g.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return "{" + g.space() + strings.Join(all, g.space()+","+g.space()) + g.space() + "}"
}

// call returns the fields of a call, with others at random: of those one is unknown.
func (g generator) call(method, params string) map[string]string {
	fields := map[string]string{"id": pick(g, "1", `"1"`, "null"), "method": g.text(method), "params": params}
	for key, value := range map[string]string{
		"jsonrpc": `"2.0"`, "worker": g.text("rig"), "error": "null", "body": g.value(2),
		pick(g, "extra", "", "login", "é", "dates", "ids", "a \"quoted\" {key}"): g.value(3),
	} {
		if g.IntN(2) == 0 {
			fields[key] = value
		}
	}
	return fields
}

// spoil makes the fields of a call those of something else, such as a record of a log.
func (g generator) spoil(fields map[string]string) {
	switch g.IntN(4) {
	case 0:
		delete(fields, "id")
	case 1:
		delete(fields, "params")
		delete(fields, "body")
	case 2:
		fields[pick(g, logKeys[:]...)] = g.value(1)
	default:
		fields["one"], fields["two"] = g.value(1), g.value(1)
	}
}

// stratum writes what a miner says, and returns what it is; some of it is spoilt, and nothing.
func (g generator) stratum() (string, Finding) {
	fields, f := g.minersCall()
	if g.IntN(4) == 0 {
		g.spoil(fields)
		f = 0
	}
	return g.object(fields), f
}

func (g generator) minersCall() (map[string]string, Finding) {
	list := func() string {
		return "[" + g.text(g.word()) + "," + g.text("x") + "]"
	}
	some := func(fields map[string]string) string {
		for key, value := range map[string]string{"id": g.text("1"), "mode": g.text("self-select"), "perf": g.value(1)} {
			if g.IntN(3) == 0 {
				fields[key] = value
			}
		}
		return g.object(fields)
	}
	switch g.IntN(6) {
	case 0:
		fields := map[string]string{"login": g.text("48edfHu7V9Z84YzzMa6"), loginParams[g.IntN(len(loginParams))]: g.value(1)}
		for _, p := range loginParams {
			if g.IntN(2) == 0 {
				fields[p] = g.value(1)
			}
		}
		return g.call("login", some(fields)), Login
	case 1:
		return g.call("submit", some(map[string]string{"job_id": g.text("x"), "nonce": g.text("00ff"), "result": g.text("ff")})), Submit
	case 2:
		return g.call("eth_submitLogin", list()), Eth
	case 3:
		return g.call(pick(g, "eth_getWork", "eth_submitHashrate"), list()), Work
	case 4:
		return g.call(pick(g, "getblocktemplate", "get_block_template"), some(map[string]string{"wallet_address": g.text("4x")})), Template
	}
	fields := g.call(pick(g, stratum()["mining"]...), pick(g, list(), "[]", g.value(1)))
	if g.IntN(4) == 0 {
		fields["body"] = fields["params"]
		delete(fields, "params")
	}
	return fields, Mining
}

// decoy writes a call of somebody else.
func (g generator) decoy() string {
	params := g.value(3)
	return g.object(g.call(pick(g, "server.version", "initialize", "JSONRPC.Ping", "user.login", "mining", "mining.", "xmining.subscribe", "logins"), params))
}

// proxy writes a request to a proxy and returns the port.
func (g generator) proxy(host string) (string, uint16) {
	port := uint16(1 + g.IntN(60000))
	number := string(binary.BigEndian.AppendUint16(nil, port))
	switch g.IntN(5) {
	case 0:
		return fmt.Sprintf("CONNECT %s:%d HTTP/1.1\r\nHost: %s\r\n\r\n", host, port, host), port
	case 1:
		return fmt.Sprintf("CONNECT %s:%d HTTP/1.0\n\n", host, port), port
	case 2:
		return "\x05\x01\x00\x05\x01\x00\x03" + string(rune(len(host))) + host + number, port
	case 3:
		return "\x05\x02\x00\x02\x01\x04user\x04pass\x05\x01\x00\x03" + string(rune(len(host))) + host + number, port
	}
	return "\x04\x01" + number + "\x00\x00\x00\x07user\x00" + host + "\x00", port
}

// origin writes where a connection comes from, in the PROXY protocol.
func (g generator) origin() string {
	if g.IntN(2) == 0 {
		return "PROXY TCP4 192.0.2.1 192.0.2.2 5000 3333\r\n"
	}
	rest := make([]byte, pick(g, 0, 12, g.IntN(600)))
	for i := range rest {
		rest[i] = byte(g.IntN(256))
	}
	return "\r\n\r\n\x00\r\nQUIT\n\x21\x11" + string(binary.BigEndian.AppendUint16(nil, uint16(len(rest)))) + string(rest)
}

// hello writes a ClientHello in records of random length. An empty server is none.
func (g generator) hello(server string, alpn bool) []byte {
	u16 := func(b []byte, n int) []byte { return binary.BigEndian.AppendUint16(b, uint16(n)) }
	field := func(b []byte, n int) []byte { return append(b, make([]byte, n)...) }
	extension := func(kind int, body []byte) []byte { return append(u16(u16(nil, kind), len(body)), body...) }
	var extensions [][]byte
	for range g.IntN(pick(g, 5, 5, 40)) {
		extensions = append(extensions, extension(20+g.IntN(30), field(nil, g.IntN(pick(g, 1, 60, 60, 1500)))))
	}
	if server != "" {
		body := u16(nil, len(server)+3)
		body = append(u16(append(body, 0), len(server)), server...)
		extensions = append(extensions, extension(0, body))
	}
	if alpn {
		extensions = append(extensions, extension(16, []byte("\x00\x03\x02h2")))
	}
	g.Shuffle(len(extensions), func(i, j int) { extensions[i], extensions[j] = extensions[j], extensions[i] })
	var all []byte
	for _, e := range extensions {
		all = append(all, e...)
	}
	body := field([]byte{3, 3}, 32)
	session, ciphers := g.IntN(33), 2*g.IntN(40)
	body = field(append(body, byte(session)), session)
	body = field(u16(body, ciphers), ciphers)
	body = append(body, 1, 0)
	body = append(u16(body, len(all)), all...)
	message := append([]byte{1, 0, byte(len(body) >> 8), byte(len(body))}, body...)
	most := pick(g, 1, 7, 64, 200, 5000)
	var out []byte
	for len(message) > 0 {
		n := min(1+g.IntN(most), len(message))
		out = append(u16(append(out, handshake, 3, 1), n), message[:n]...)
		message = message[n:]
	}
	return out
}

func (g generator) question(host string, tcp bool) []byte {
	b := []byte{1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	if tcp {
		b = append([]byte{0, 50}, b...)
	}
	for label := range strings.SplitSeq(host, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	return append(b, 0, 0, 1, 0, 1)
}

// miner writes a stream in which a miner says something, perhaps after other things.
func (g generator) miner() (string, Finding) {
	var b strings.Builder
	b.WriteString(g.manySpaces())
	for range pick(g, 0, 0, 1, 2) {
		text, _ := g.proxy(pick(g, "proxy.example", "10.0.0.1", "xmr.minexmr.com"))
		if g.IntN(3) == 0 {
			text = g.origin()
		}
		b.WriteString(text + g.manySpaces())
	}
	batch := g.IntN(8) == 0
	separate := "\n"
	if batch {
		b.WriteString("[")
		separate = ","
	}
	for range pick(g, 0, 0, 1, 3) {
		b.WriteString(g.decoy() + g.space() + separate)
	}
	text, f := g.stratum()
	b.WriteString(text)
	if batch {
		b.WriteString("]")
	}
	b.WriteString("\n" + g.decoy())
	return b.String(), f
}

func TestEveryWordOfTheGrammarIsFound(t *testing.T) {
	g := generator{random(t)}
	for range testutil.Thorough(40000) {
		stream, want := g.miner()
		a := Judge([]byte(stream), NoQuestion, Decides{Plain: Stratum, HTTP: Stratum, Listed: Stratum}, lookup)
		if a.Found&want != want {
			t.Fatalf("found %v, want %v, in %q", a.Found, want, stream)
		}
		if a.Found&^(Host|want) != 0 {
			t.Fatalf("found %v, want %v, in %q", a.Found, want, stream)
		}
	}
}

// says is what a JSON value says, by encoding/json.
func says(v any) (f Finding) {
	m, ok := v.(map[string]any)
	if !ok {
		return 0
	}
	call := object{}
	for key := range m {
		call.keys = append(call.keys, key)
	}
	if method, ok := m["method"].(string); ok {
		call.methods = append(call.methods, strings.ToLower(method))
	}
	if params, ok := m["params"].(map[string]any); ok {
		for key := range params {
			call.params = append(call.params, key)
		}
	}
	return call.says()
}

// Without a verdict that stops it, all that a stream of JSON says is found, and nothing else.
func TestJSONIsReadAsEncodingJSONReadsIt(t *testing.T) {
	g := generator{random(t)}
	hit := 0
	for range testutil.Thorough(40000) {
		var b strings.Builder
		for range 1 + g.IntN(4) {
			text, _ := g.stratum()
			b.WriteString(pick(g, text, g.decoy(), g.object(map[string]string{"id": "1", "method": g.value(2), "params": g.value(2), "login": g.value(1)})) + g.space())
		}
		var want Finding
		for d := json.NewDecoder(strings.NewReader(b.String())); d.More(); {
			var v any
			if err := d.Decode(&v); err != nil {
				t.Fatal(err, b.String())
			}
			want |= says(v)
		}
		if want != 0 {
			hit++
		}
		if a := Judge([]byte(b.String()), NoQuestion, Decides{}, lookup); a.Found != want {
			t.Fatalf("found %v, want %v, in %q", a.Found, want, b.String())
		}
	}
	t.Logf("%d said something", hit)
}

func TestTLSAndProxiesNameTheirServers(t *testing.T) {
	g := generator{random(t)}
	for range testutil.Thorough(4000) {
		host := pick(g, "", "honest.example", "eu.minexmr.com", "KILL.test", "refuse.test.example", strings.Repeat("a.", 100)+"nanopool.org")
		alpn := g.IntN(2) == 0
		before, port := "", uint16(0)
		if g.IntN(2) == 0 {
			before, port = g.proxy("honest.example")
		}
		a := Judge(append([]byte(before), g.hello(host, alpn)...), NoQuestion, Decides{}, lookup)
		listed := host != "" && !strings.HasSuffix(host, "example")
		want := Finding(0)
		if listed {
			want |= Server
		}
		if !alpn && !strings.HasPrefix(host, "KILL") {
			want |= Hello
		}
		if a.Found&^Hello != want&^Hello || host != "KILL.test" && a.Found != want || (a.Listed != 0) != listed || a.Port != port {
			t.Fatalf("%q, ALPN %v, port %d: %+v, want %v", host, alpn, port, a, want)
		}
		for _, q := range []Question{UDPQuestion, TCPQuestion} {
			if host == "" {
				continue
			}
			if a := Judge(g.question(host, q == TCPQuestion), q, Decides{}, lookup); (a.Stop == Query) != listed {
				t.Fatalf("question for %q: %+v", host, a)
			}
		}
	}
}

// any writes a stream of any kind, and damages some.
func (g generator) any() ([]byte, Question) {
	var b []byte
	q := NoQuestion
	switch g.IntN(6) {
	case 0:
		for range g.IntN(14) {
			text, _ := g.proxy(pick(g, "a.example", "x.refuse.test", "b.minexmr.com", "[::1]", ""))
			if g.IntN(3) == 0 {
				text = g.origin()
			}
			b = append(b, text+pick(g, "", g.manySpaces())...)
		}
		b = append(b, g.hello(pick(g, "", "a.observe.test", "b.kill.test"), g.IntN(2) == 0)...)
	case 1:
		b = g.hello(pick(g, "", "a.minexmr.com", "b.kill.test", strings.Repeat("x", 255), strings.Repeat("y.", 120)+"minexmr.com"), g.IntN(2) == 0)
	case 2:
		q = pick(g, UDPQuestion, TCPQuestion)
		b = g.question(pick(g, "a.minexmr.com", "b.example"), q == TCPQuestion)
	case 3:
		text, _ := g.stratum()
		b = []byte("POST /json_rpc HTTP/1.1\r\nHost: x\r\n\r\n" + g.decoy() + text)
	default:
		text, _ := g.miner()
		b = []byte(text)
	}
	if g.IntN(2) == 0 {
		for range 1 + g.IntN(4) {
			if len(b) == 0 {
				break
			}
			at := g.IntN(len(b))
			switch g.IntN(3) {
			case 0:
				b[at] = byte(g.IntN(256))
			case 1:
				b = append(b[:at], b[at+1:]...)
			default:
				b[at] = pick[byte](g, '{', '}', '[', ']', '"', '\\', ',', ':', ' ', '\n', 0, 4, 5, 22)
			}
		}
	}
	return b, q
}

func TestTheKernelJudgesTheGrammarAsGoDoes(t *testing.T) {
	for _, d := range []Decides{allDecide(), {}, {Plain: Sure, HTTP: 0, Listed: Stratum | Hello}} {
		k := newKernel(t, d, testNames())
		r := random(t)
		g := generator{r}
		for range testutil.Rounds(t, 1500) {
			stream, q := g.any()
			for _, pieces := range cuts(r, stream, 2) {
				if len(pieces) < 700 || g.IntN(10) == 0 {
					k.mustAgree(t, "generated", pieces, q, d)
				}
			}
		}
	}
}

// What is decided of a beginning stays.
func FuzzJudge(f *testing.F) {
	for _, file := range []string{"mining.jsonl", "honest.jsonl"} {
		for _, r := range load(f, file) {
			f.Add(r.whole(), int(r.question()))
		}
	}
	g := generator{rand.New(rand.NewPCG(1, 2))}
	for range 100 {
		b, q := g.any()
		f.Add(b, int(q))
	}
	f.Fuzz(func(t *testing.T, stream []byte, q int) {
		var before Answer
		kind := Question(uint(q) % 3)
		whole := Judge(stream, kind, allDecide(), lookup)
		for n := range min(len(stream), 300) {
			a := Judge(stream[:n], kind, allDecide(), lookup)
			if before.Found&^a.Found != 0 || before.Stop != 0 && a != before || before.Done && a != before {
				t.Fatalf("%d bytes: %+v, then %+v", n, before, a)
			}
			before = a
		}
		if before.Stop != 0 && whole != before {
			t.Fatalf("%+v, then %+v", before, whole)
		}
	})
}
