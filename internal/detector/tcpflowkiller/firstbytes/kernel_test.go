package firstbytes

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/cryptnono/cryptnono/internal/kernelbtf"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// A kernel is the kernel program.
type kernel struct {
	objs bpfObjects
}

func newKernel(t testing.TB, d Decides, names map[string]Listed) *kernel {
	t.Helper()
	testutil.Privileged(t)
	spec, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	h := NewHasher(rand.Uint64())
	if err := h.Prepare(spec, d, len(names)); err != nil {
		t.Fatal(err)
	}
	k := &kernel{}
	if err := spec.LoadAndAssign(&k.objs, &ebpf.CollectionOptions{Cache: kernelbtf.Cache}); err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() { _ = k.objs.Close() })
	if err := h.Fill(k.objs.Words, k.objs.Names, names); err != nil {
		t.Fatal(err)
	}
	return k
}

const (
	linkHead = 14   // of the packets of a test run, which a program of a cgroup does not see
	maxPiece = 3500 // bytes: a packet of a test run is a page at most, with what the kernel adds
)

// judge judges the pieces of a stream.
func (k *kernel) judge(t testing.TB, pieces [][]byte, q Question) Answer {
	t.Helper()
	var a bpfAnswer
	fresh := uint32(1)
	for _, p := range pieces {
		for len(p) > 0 && a.Stop == 0 {
			n := min(len(p), maxPiece)
			in := make([]byte, linkHead, linkHead+8+n)
			in = binary.NativeEndian.AppendUint32(in, fresh)
			in = binary.NativeEndian.AppendUint32(in, uint32(q))
			in = append(in, p[:n]...)
			if ret, err := k.objs.JudgeBytes.Run(&ebpf.RunOptions{Data: in}); err != nil || ret != 1 {
				t.Fatalf("running the program: %d, %v", ret, err)
			}
			if err := k.objs.LastAnswer.Get(&a); err != nil {
				t.Fatal(err)
			}
			fresh, p = 0, p[n:]
		}
	}
	return Answer{
		Stop: Finding(a.Stop), Found: Finding(a.Found), Listed: Listed(a.Listed), Port: uint16(a.Port),
		Done: a.Kind == 6, InHTTP: a.InHttp != 0,
	}
}

// cuts returns a stream in pieces: whole, byte by byte, and at random.
func cuts(r *rand.Rand, stream []byte, random int) [][][]byte {
	all := [][][]byte{{stream}, cutEvery(stream, func() int { return 1 })}
	for range random {
		most := 1 + r.IntN(200)
		all = append(all, cutEvery(stream, func() int { return 1 + r.IntN(most) }))
	}
	return all
}

func cutEvery(stream []byte, length func() int) (pieces [][]byte) {
	for len(stream) > 0 {
		n := min(length(), len(stream))
		pieces, stream = append(pieces, stream[:n]), stream[n:]
	}
	return pieces
}

func (k *kernel) mustAgree(t *testing.T, name string, pieces [][]byte, q Question, d Decides) {
	t.Helper()
	stream := bytes.Join(pieces, nil)
	want := Judge(stream, q, d, lookup)
	want.Name = ""
	if got := k.judge(t, pieces, q); got != want {
		t.Fatalf("%s: the kernel says %+v, Go %+v, of %.300q in %d pieces", name, got, want, stream, len(pieces))
	}
}

func random(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func TestTheKernelJudgesTheRecordedStreamsAsGoDoes(t *testing.T) {
	for _, d := range []Decides{allDecide(), {}, {Plain: Sure, HTTP: 0, Listed: Stratum | Hello}} {
		k := newKernel(t, d, testNames())
		r := random(t)
		for _, file := range []string{"mining.jsonl", "honest.jsonl", "evade.jsonl"} {
			for _, s := range load(t, file) {
				for _, pieces := range cuts(r, s.whole(), testutil.Rounds(t, 20)) {
					k.mustAgree(t, s.Name, pieces, s.question(), d)
				}
			}
		}
	}
}

// Where nothing says what a stream is, it is judged to the end of the packet, however small its pieces are.
func TestLongWhiteSpaceHidesNothing(t *testing.T) {
	k := newKernel(t, allDecide(), testNames())
	call := `{"id":1,"method":"mining.subscribe","params":[]}`
	for _, before := range []string{
		"", "CONNECT h:1 HTTP/1.1\r\n\r\n", "\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x0d\x05", "PROXY TCP4 192.0.2.1 192.0.2.2 5000 3333\r\n",
	} {
		for _, n := range []int{63, 64, 65, 576, 2304, 2305, 3300} {
			stream := before + strings.Repeat(" ", n)
			k.mustAgree(t, "white space", [][]byte{[]byte(stream + call)}, NoQuestion, allDecide())
			k.mustAgree(t, "white space", [][]byte{[]byte(stream), []byte(call)}, NoQuestion, allDecide())
			k.mustAgree(t, "white space", [][]byte{[]byte(before), []byte(stream[len(before):] + call)}, NoQuestion, allDecide())
		}
	}
}

// A piece takes the most turns if each byte, or a few, is a step of its own. It is judged to its end
// nevertheless: the decisive word is behind several of them.
func TestAPieceOfEachKindIsJudgedToItsEnd(t *testing.T) {
	k := newKernel(t, allDecide(), testNames())
	call := `{"id":1,"method":"mining.subscribe","params":[]}`
	var proxies strings.Builder // all that may be asked, as short as possible and as long
	for i := range maxProxies {
		proxies.WriteString([]string{"CO :1 \n\n", "\x04\x01\x00\x01\x00\x00\x01\x00\x00", "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x01", "PROX \n"}[i%4])
	}
	g := generator{rand.New(rand.NewPCG(1, 1))}
	var records []byte // one of each byte of the message
	for len(records) == 0 || len(records) > 3000 {
		records = nil
		for hello := g.hello(strings.Repeat("a.", 50)+"kill.test", false); len(hello) > 0; {
			n := 5 + int(binary.BigEndian.Uint16(hello[3:]))
			for _, c := range hello[5:n] {
				records = append(records, handshake, 3, 1, 0, 1, c)
			}
			hello = hello[n:]
		}
	}
	labels := strings.TrimSuffix(strings.Repeat("a.", 100), ".")
	for _, c := range []struct {
		name   string
		stream string
		q      Question
	}{
		{"JSON", `{"x":"` + strings.Repeat(`\u0061`, 300) + `"}` + call, NoQuestion},
		{"a head", "CONNECT h:1 HTTP/1.1\r\n" + strings.Repeat("a: b\r\n", 200) + "\r\n" + call, NoQuestion},
		{"a name", "CONNECT " + strings.Repeat("a.", 600) + ":1 H\r\n\r\n" + call, NoQuestion},
		{"methods and log-ins", "\x05\xff" + strings.Repeat("x", 255) + strings.Repeat("\x01\x01a\x01b", 200) + "\x05\x01\x00\x03\x09kill.test\x00\x01", NoQuestion},
		{"a user", "\x04\x01\x00\x01\x00\x00\x00\x01" + strings.Repeat("u", 1500) + "\x00kill.test\x00", NoQuestion},
		{"short proxies", proxies.String() + call, NoQuestion},
		{"short proxies behind a piece", strings.Repeat(" ", 1000) + proxies.String() + strings.Repeat(" ", 200) + call, NoQuestion},
		{"records of a byte", string(records), NoQuestion},
		{"proxies and records", proxies.String() + string(records), NoQuestion},
		{"labels", string(g.question(labels+".kill.test", false)), UDPQuestion},
	} {
		whole := []byte(c.stream)
		if a := Judge(whole, c.q, allDecide(), lookup); a.Stop == 0 {
			t.Errorf("%s: nothing is found", c.name)
		}
		for shift := range 70 { // of the pieces
			if c.q == NoQuestion {
				whole = append([]byte(" "), whole...)
			}
			if len(whole) > maxPiece || shift > 0 && c.q != NoQuestion {
				break
			}
			k.mustAgree(t, c.name, [][]byte{whole}, c.q, allDecide())
		}
	}
}

func TestTheVerifierIsFarFromItsLimit(t *testing.T) {
	testutil.Privileged(t)
	spec, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	testutil.LogVerified(t, "firstbytes", spec)
}
