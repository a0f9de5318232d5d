package tcpflowkiller

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// BenchmarkLoopback measures whole operations of one thread that has both ends of loopback
// connections: in a cgroup without programs, with empty ones, and with those of the detector. The
// rounds alternate; it reports the median of their ratios, and the quartiles.
func BenchmarkLoopback(b *testing.B) {
	var l lists
	for i := range 1000 {
		l.addresses = append(l.addresses, bannedAddress{prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(i >> 8), byte(i), 0}), 24)})
	}
	bed := newBed(b, bedOptions{lists: l})
	name := fmt.Sprintf("cryptnono-flow-%d-", os.Getpid())
	none, idle := testutil.MakeCgroup(b, name+"none"), testutil.MakeCgroup(b, name+"empty")
	empty(b, idle, ebpf.CGroupSKB, ebpf.AttachCGroupInetEgress)
	empty(b, idle, ebpf.CGroupSockAddr, ebpf.AttachCGroupInet4Connect)
	empty(b, idle, ebpf.CGroupSockAddr, ebpf.AttachCGroupUDP4Sendmsg)
	in := []string{none, idle, bed.cgroup}
	enter(b, none)

	request := "GET / HTTP/1.1\r\nHost: www.example.org\r\nAccept: text/html\r\n\r\n"
	for _, op := range []struct {
		name string
		n    int // of a round
		run  func(t *thread, n int)
	}{
		{"ping-pong", 4000, func(t *thread, n int) {
			c, s := t.connect()
			for range n {
				t.send(c, s, request)
				t.send(s, c, request)
			}
			t.close(c, s)
		}},
		{"writes_of_64_KiB", 1500, func(t *thread, n int) {
			c, s := t.connect()
			block := strings.Repeat("x", 64<<10)
			for range n {
				t.send(c, s, block)
			}
			t.close(c, s)
		}},
		{"connect_and_request", 1500, func(t *thread, n int) {
			for range n {
				c, s := t.connect()
				t.send(c, s, request)
				t.close(c, s)
			}
		}},
		{"connect_and_JSON", 1500, func(t *thread, n int) {
			for range n {
				c, s := t.connect()
				t.send(c, s, electrum)
				t.close(c, s)
			}
		}},
	} {
		b.Run(op.name, func(b *testing.B) {
			const rounds = 21
			var toNone, toEmpty, ns []float64
			for round := range rounds {
				var took [3]float64
				for i := range in {
					which := (round + i) % len(in)
					if err := os.WriteFile(in[which]+"/cgroup.procs", []byte("0"), 0); err != nil {
						b.Fatal(err)
					}
					t := newThread(b)
					began := time.Now()
					op.run(t, op.n)
					took[which] = float64(time.Since(began).Nanoseconds()) / float64(op.n)
					t.end()
				}
				toNone = append(toNone, 100*(took[2]/took[0]-1))
				toEmpty = append(toEmpty, 100*(took[2]/took[1]-1))
				ns = append(ns, took[2])
			}
			for unit, all := range map[string][]float64{"%-above-none": toNone, "%-above-empty": toEmpty} {
				slices.Sort(all)
				b.ReportMetric(all[rounds/2], unit)
				b.ReportMetric(all[rounds/4], unit+"-lower-quartile")
				b.ReportMetric(all[rounds*3/4], unit+"-upper-quartile")
			}
			slices.Sort(ns)
			b.ReportMetric(ns[rounds/2], "ns")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// A thread has a listening socket, and both ends of its connections.
type thread struct {
	b        *testing.B
	listener int
	address  unix.Sockaddr
	buf      []byte
}

func newThread(b *testing.B) *thread {
	b.Helper()
	t := &thread{b: b, buf: make([]byte, 64<<10)}
	t.listener = t.socket()
	t.must(unix.Bind(t.listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	t.must(unix.Listen(t.listener, 128))
	var err error
	t.address, err = unix.Getsockname(t.listener)
	t.must(err)
	return t
}

func (t *thread) must(err error) {
	if err != nil {
		t.b.Fatal(err)
	}
}

func (t *thread) socket() int {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	t.must(err)
	return fd
}

func (t *thread) connect() (client, server int) {
	client = t.socket()
	t.must(unix.Connect(client, t.address))
	server, _, err := unix.Accept(t.listener)
	t.must(err)
	return client, server
}

// send sends text, and checks that it arrives.
func (t *thread) send(from, to int, text string) {
	n, err := unix.Write(from, []byte(text))
	if err != nil || n != len(text) {
		t.b.Fatal(n, err)
	}
	for got := 0; got < len(text); {
		n, err := unix.Read(to, t.buf)
		if err != nil || n == 0 || text[got:got+n] != string(t.buf[:n]) {
			t.b.Fatal(n, err)
		}
		got += n
	}
}

// close resets a connection, so that no port waits.
func (t *thread) close(client, server int) {
	t.must(unix.SetsockoptLinger(client, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
	t.must(unix.Close(client))
	t.must(unix.Close(server))
}

func (t *thread) end() { t.must(unix.Close(t.listener)) }
