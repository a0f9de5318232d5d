package tcpflowkiller

import (
	"encoding/binary"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// question returns a DNS question.
func question(name string, tcp bool) string {
	b := []byte{1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for label := range strings.SplitSeq(name, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	b = append(b, 0, 0, 1, 0, 1)
	if tcp {
		b = append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
	}
	return string(b)
}

func socks(name string, port uint16) string {
	return "\x05\x01\x00\x05\x01\x00\x03" + string(rune(len(name))) + name + string(binary.BigEndian.AppendUint16(nil, port))
}

// The address and port of DNS that the tests ask. Nobody has to answer.
const dns = "127.77.0.53:53"

// TestWhatAPoolsNameMeans is the table of docs/network.md.
func TestWhatAPoolsNameMeans(t *testing.T) {
	const (
		pool  = "xmr-eu1.MineXMR.com"
		other = "minexmr.com.example.org"
	)
	work := `{"id":1,"method":"eth_getWork","params":[]}` + "\n"
	plain, web := testutil.ClientHello(t, pool), testutil.ClientHello(t, pool, "h2", "http/1.1")
	noName := testutil.ClientHello(t, "127.0.0.1")
	cases := []struct {
		name      string
		asks      string // a DNS question first
		sends     [][]byte
		contained any // the action in a container, nil for none
		host      any // and outside
	}{
		{"a question alone", question(pool, false), nil, nil, nil},
		{"a miner's words after a question", question(pool, false), sends(work), "killed", "killed"},
		{"the same without a question", "", sends(work), "observed", "observed"},
		{"the same after a question for another name", question(other, false), sends(work), "observed", "observed"},
		{"TLS without ALPN by name", "", sends(plain), "killed", "refused"},
		{"in pieces", "", sends(plain[:20], plain[20:70], plain[70:]), "killed", "refused"},
		{"after a question, without a name", question(pool, false), sends(noName), "killed", "refused"},
		{"without a question, without a name", "", sends(noName), nil, nil},
		{"a web client", question(pool, false), sends(web), nil, nil},
		{"after a question, TLS to another name", question(pool, false), sends(testutil.ClientHello(t, "redis.internal")), nil, nil},
		{"after the question of a mail server", strings.TrimSuffix(question(pool, false), "\x00\x01\x00\x01") + "\x00\x0f\x00\x01", sends(noName), nil, nil},
		{"TLS to another name", "", sends(testutil.ClientHello(t, other)), nil, nil},
		{"through SOCKS", "", sends(socks(pool, 14433), noName), "killed", "refused"},
		{"through SOCKS to port 443", "", sends(socks(pool, 443), noName), "observed", "observed"},
		{"through SOCKS, words that others say too", "", sends(socks(pool, 3333), work), "killed", "killed"},
		{"through CONNECT", "", sends("CONNECT "+pool+":3333 HTTP/1.1\r\n\r\n", noName), "killed", "refused"},
		{"through CONNECT, a web client", "", sends("CONNECT "+pool+":3333 HTTP/1.1\r\n\r\n", web), nil, nil},
		{"a name that is refused, in a question", question("a.refuse.test", false), nil, "refused", "refused"},
		{"a name that kills, in a question", question("a.kill.test", false), nil, "killed", "refused"},
		{"a name that kills, by a web client", "", sends(testutil.ClientHello(t, "kill.test", "h2")), "killed", "refused"},
		{"a name that kills, through SOCKS", "", sends(socks("kill.test", 443)), "killed", "refused"},
	}
	for _, contained := range []bool{true, false} {
		where, below := "on the host", ""
		if contained {
			where, below = "in a container", podCgroup
		}
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, bedOptions{cgroup: below})
			b.classify()
			for _, c := range cases {
				want := c.host
				if contained {
					want = c.contained
				}
				b.tryName(c.name, order{Asks: []byte(c.asks), AsksAt: dns, Sends: c.sends, Pause: 5 * time.Millisecond}, want)
			}
		})
	}
}

// What is only observed kills if another detector has found something in the same container,
// unless the operator wants it observed.
func TestTwoLikelySigns(t *testing.T) {
	said := sends(socks("minexmr.com", 443), testutil.ClientHello(t, "127.0.0.1"))
	for _, c := range []struct {
		name     string
		settings func(*Settings)
		want     string
	}{
		{"by default", func(*Settings) {}, "killed"},
		{"names: observe", func(s *Settings) { s.Names = Observe }, "observed"},
		{"action: refuse", func(s *Settings) { s.Action = Refuse }, "observed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			settings := Defaults()
			c.settings(settings)
			b := newBed(t, bedOptions{cgroup: podCgroup, settings: settings})
			b.classify()
			b.tryName("alone", order{Sends: said}, "observed")
			miner := b.run(exec.Command("sleep", "60"))
			at, err := b.env.Inventory.Locate(miner.Process.Pid)
			if err != nil {
				t.Fatal(err)
			}
			b.env.Judge.Meet(at, verdict.Sign{Kind: verdict.Computes, Text: "other: computes"})
			s := newSink(t, "tcp4", "127.0.0.1:0")
			cmd, _ := b.start(order{Address: s.Addr().String(), Sends: said, Stay: testutil.Patience(5 * time.Second)})
			var l map[string]any
			testutil.Eventually(t, "the verdict "+c.want, func() bool {
				for _, l = range b.lines(cmd.Process.Pid) {
					if l["action"] == c.want {
						return true
					}
				}
				return false
			})
			if c.want != "killed" {
				testutil.End(cmd)
				return
			}
			if signal, _ := ended(cmd); signal != syscall.SIGKILL || l["with"] != "other: computes" {
				t.Errorf("killed by %v, %v", signal, l)
			}
		})
	}
}

// tryName starts a client, and checks the action of its verdict, nil for none.
func (b *bed) tryName(name string, o order, want any) {
	b.t.Helper()
	s := newSink(b.t, "tcp4", "127.0.0.1:0")
	o.Address = s.Addr().String()
	if want == "killed" {
		o.Stay = testutil.Patience(10 * time.Second)
	}
	cmd, out := b.start(o)
	signal, status := ended(cmd)
	if (signal == syscall.SIGKILL) != (want == "killed") {
		b.t.Errorf("%s: killed by %v, status %d, %s", name, signal, status, out)
	}
	if want == nil {
		if l := b.lines(cmd.Process.Pid); len(l) > 0 {
			b.t.Errorf("%s: %v", name, l)
		}
		return
	}
	if l := b.line(cmd.Process.Pid); l["action"] != want {
		b.t.Errorf("%s: %v", name, l)
	}
	last := ""
	if len(o.Sends) > 0 {
		last = string(o.Sends[len(o.Sends)-1])
	}
	if want != "observed" && last != "" && strings.HasSuffix(s.text(), last) {
		b.t.Errorf("%s: all arrives: %q", name, s.text())
	}
}

// A DNS server asks what others want to know.
func TestDNSServersAreNotMarked(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{cgroup: podCgroup, Options: detectortest.Options{}})
	b.classify()
	s := newSink(t, "tcp4", "127.0.0.1:0")
	cmd, _ := b.start(order{
		Address: s.Addr().String(), Sends: sends(testutil.ClientHello(t, "127.0.0.1")), Asks: []byte(question("minexmr.com", false)), AsksAt: dns, ServesDNS: true,
	})
	if signal, _ := ended(cmd); signal != 0 {
		t.Error("a DNS server is killed for its connection to another one")
	}
	cmd, _ = b.start(order{Asks: []byte(question("kill.test", false)), AsksAt: dns, ServesDNS: true})
	if signal, _ := ended(cmd); signal != 0 {
		t.Error("a DNS server is killed for the question of somebody else")
	}
	if l := b.line(cmd.Process.Pid); l["action"] != "refused" || l["spared"] != "forwarder" {
		t.Error(l)
	}
}

func TestQuestionsOverTCPMark(t *testing.T) {
	b := newBed(t, bedOptions{cgroup: podCgroup})
	b.classify()
	server := newSink(t, "tcp4", dns)
	s := newSink(t, "tcp4", "127.0.0.1:0")
	cmd, _ := b.start(order{
		Address: s.Addr().String(), Sends: sends(testutil.ClientHello(t, "127.0.0.1")), Asks: []byte(question("minexmr.com", true)), AsksAt: dns, AsksTCP: true,
	})
	if signal, _ := ended(cmd); signal != syscall.SIGKILL {
		t.Errorf("killed by %v", signal)
	}
	testutil.Eventually(t, "the question", func() bool { return server.text() == question("minexmr.com", true) })
}
