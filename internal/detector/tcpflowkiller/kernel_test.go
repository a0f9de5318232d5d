package tcpflowkiller

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

const (
	login     = `{"id":1,"jsonrpc":"2.0","method":"login","params":{"login":"48edfHu7V9Z84YzzMa6","pass":"x","agent":"XMRig/6.26.0"}}` + "\n"
	subscribe = `{"id": 1, "method": "mining.subscribe", "params": ["cpuminer/2.5.1"]}` + "\n"
	electrum  = `{"id": 0, "method": "server.version", "params": ["electrum/4.5.5", ["1.4", "1.4"]]}` + "\n"
)

func sends(all ...string) (b [][]byte) {
	for _, s := range all {
		b = append(b, []byte(s))
	}
	return b
}

func byByte(s string) (b [][]byte) {
	for i := range len(s) {
		b = append(b, []byte{s[i]})
	}
	return b
}

// Where the kernel cannot kill, the agent does so soon: by the median within 5 ms.
func TestMinersDieBeforeTheirFirstCallHasArrived(t *testing.T) {
	b := newBed(t, bedOptions{})
	var lived []time.Duration
	for _, c := range []struct {
		name    string
		network string
		address string
		sends   [][]byte
		arrives string // at most
	}{
		{"xmrig's login", "tcp4", "127.0.0.1:0", sends(login), ""},
		{"a subscription", "tcp4", "127.0.0.1:0", sends(subscribe), ""},
		{"over IPv6", "tcp6", "[::1]:0", sends(login), ""},
		{"in two sends", "tcp4", "127.0.0.1:0", sends(login[:40], login[40:]), login[:40]},
		{"behind a message of somebody else", "tcp4", "127.0.0.1:0", sends(electrum, subscribe), electrum},
		{"byte by byte", "tcp4", "127.0.0.1:0", byByte(subscribe), strings.TrimRight(subscribe, "}\n")},
		{"through SOCKS", "tcp4", "127.0.0.1:0", sends("\x05\x01\x00", "\x05\x01\x00\x01\x7f\x00\x00\x01\x0d\x05", login), "\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x0d\x05"},
		{"behind long white space", "tcp4", "127.0.0.1:0", sends(strings.Repeat(" ", 2400) + login), ""},
		{"behind the longest", "tcp4", "127.0.0.1:0", sends(strings.Repeat("\n", 16000) + subscribe), ""},
		{"behind white space after CONNECT", "tcp4", "127.0.0.1:0", sends("CONNECT h:1 HTTP/1.1\r\n\r\n" + strings.Repeat(" ", 16000) + subscribe), ""},
		{"behind white space after SOCKS", "tcp4", "127.0.0.1:0", sends("\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x0d\x05"+strings.Repeat(" ", 16000), subscribe), "\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x0d\x05" + strings.Repeat(" ", 16000)},
		{"through CONNECT", "tcp4", "127.0.0.1:0", sends("CONNECT h:1 HTTP/1.1\r\n\r\n", login), "CONNECT h:1 HTTP/1.1\r\n\r\n"},
	} {
		s := newSink(t, c.network, c.address)
		cmd, out := b.start(order{Network: c.network, Address: s.Addr().String(), Sends: c.sends, Pause: time.Millisecond, Stay: testutil.Patience(5 * time.Second), Clock: true})
		signal, _ := ended(cmd)
		if signal != syscall.SIGKILL {
			t.Errorf("%s: lives", c.name)
		}
		said := strings.Fields("0 " + out.String())
		n, err := strconv.Atoi(said[len(said)-1])
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		lived = append(lived, time.Duration(n))
		if got := s.text(); !strings.HasPrefix(c.arrives, got) {
			t.Errorf("%s: %q arrives", c.name, got)
		}
		l := b.line(cmd.Process.Pid)
		if l["action"] != "killed" || l["source"] != "stratum" || l["refused"] != true || l["detector"] != Name || l["destination"] == "" {
			t.Errorf("%s: %v", c.name, l)
		}
		if strings.Contains(b.log.String(), "48edf") {
			t.Errorf("%s: the wallet is in the log", c.name)
		}
	}
	slices.Sort(lived)
	t.Logf("the kernel kills: %v; they live for %v", killsInKernel(), lived)
	if median := lived[len(lived)/2]; median > testutil.Patience(5*time.Millisecond) {
		t.Errorf("by the median they live for %v", median)
	}
}

func TestWhatIsLoggedOfAKilledProcess(t *testing.T) {
	t.Setenv("JUPYTER_IMAGE", "an image")
	b := newBed(t, bedOptions{logEnv: []string{"JUPYTER_IMAGE", "NONE"}, lineage: true})
	s := newSink(t, "tcp4", "127.0.0.1:0")
	cmd, _ := b.start(order{Address: s.Addr().String(), Sends: sends(login), Stay: testutil.Patience(5 * time.Second)})
	if signal, _ := ended(cmd); signal != syscall.SIGKILL {
		t.Errorf("killed by %v", signal)
	}
	l := b.line(cmd.Process.Pid)
	if env, _ := l["env"].(map[string]any); len(env) != 1 || env["JUPYTER_IMAGE"] != "an image" {
		t.Errorf("logged %v", env)
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	ancestors, _ := l["ancestors"].([]any)
	if l["cwd"] != dir || len(ancestors) == 0 || ancestors[0].(map[string]any)["pid"] != float64(os.Getpid()) {
		t.Errorf("got %v and %v", l["cwd"], ancestors)
	}
}

func TestHonestClientsLive(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{})
	for _, c := range []struct {
		name  string
		sends [][]byte
	}{
		{"Electrum", sends(electrum, electrum)},
		{"a web client", sends("GET /mining.subscribe HTTP/1.1\r\n\r\n")},
		{"a shipper of a line that is a miner's", sends(`{"date":1,"stream":"stdout",` + subscribe[1:])},
		{"a shipper of logs that quote a miner", sends(`{"message":"{\"method\":\"mining.subscribe\"}","params":{"login":"me","pass":"x"},"method":"POST"}` + "\n")},
		{"20 KiB and then the words", sends(strings.Repeat(electrum, 250), subscribe)},
		{"something else, then the words", sends("HELLO\n", subscribe)},
		{"a ClientHello that ends early", sends("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")},
	} {
		s := newSink(t, "tcp4", "127.0.0.1:0")
		cmd, _ := b.start(order{Address: s.Addr().String(), Sends: c.sends, Pause: 5 * time.Millisecond, Stay: 50 * time.Millisecond})
		if signal, status := ended(cmd); signal != 0 || status != exitDone {
			t.Errorf("%s: killed by %v, status %d", c.name, signal, status)
		}
		want := ""
		for _, s := range c.sends {
			want += string(s)
		}
		testutil.Eventually(t, "all bytes", func() bool { return s.text() == want })
	}
	if strings.Contains(b.log.String(), `"action"`) {
		t.Error("there are verdicts")
	}
	c, err := verdict.ReadCounters(b.d.shared[bpfMapCounters], int(bpfOwnCounterCOUNTERS))
	if err != nil {
		t.Fatal(err)
	}
	// Electrum and the shippers of logs are followed; the long one comes in one packet.
	if followed, truncated := c[bpfOwnCounterSTREAMS_FOLLOWED], c[bpfOwnCounterSTREAMS_TRUNCATED]; followed != 3 || truncated != 1 {
		t.Errorf("%d streams followed, %d of them truncated", followed, truncated)
	}
}

func TestBannedAddressesAreRefused(t *testing.T) {
	s := newSink(t, "tcp", ":0")
	_, port, _ := strings.Cut(s.Addr().String(), "]:")
	b := newBed(t, bedOptions{lists: lists{addresses: prefixes("127.1.2.3/32", "127.2.0.0/16", "::1/128")}})
	for _, c := range []struct {
		address string
		dies    bool
	}{
		{"127.1.2.3", true},
		{"127.2.200.1", true},
		{"[::1]", true},
		{"[::ffff:127.1.2.3]", true},
		{"127.1.2.4", false},
		{"127.3.0.1", false},
	} {
		for _, network := range []string{"tcp", "udp"} {
			before := s.connections()
			cmd, _ := b.start(order{Network: network, Address: c.address + ":" + port, Sends: sends("hello")})
			signal, status := ended(cmd)
			if dies := signal == syscall.SIGKILL; dies != c.dies {
				t.Errorf("%s %s: killed by %v, status %d", network, c.address, signal, status)
			}
			if c.dies && s.connections() != before {
				t.Errorf("%s %s: connected", network, c.address)
			}
			if c.dies {
				if l := b.line(cmd.Process.Pid); l["source"] != "banned-ip" || !strings.HasPrefix(l["rule"].(string), "the test's ") {
					t.Errorf("%v", l)
				}
			}
		}
	}
}
