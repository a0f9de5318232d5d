package tcpflowkiller

import (
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// What is connected when an address is banned dies at once, and what passes on for others lives.
func TestOlderConnectionsAreFound(t *testing.T) {
	b := newBed(t, bedOptions{})
	s := newSink(t, "tcp", "[::]:0")
	_, port, _ := net.SplitHostPort(s.Addr().String())
	at := func(host string) string { return net.JoinHostPort(host, port) }
	stay := testutil.Patience(20 * time.Second)
	banned, _ := b.start(order{Address: at("127.9.9.9"), Sends: sends("x"), Stay: stay})
	mapped, _ := b.start(order{Address: at("::ffff:127.9.9.9"), Sends: sends("x"), Stay: stay})
	datagram, _ := b.start(order{Network: "udp", Address: at("127.9.9.9"), Sends: sends("x"), Stay: stay})
	other, _ := b.start(order{Address: at("127.9.9.8"), Sends: sends("x"), Stay: stay})
	proxy := b.forwarder(order{Address: at("127.9.9.9"), Sends: sends("x"), Stay: stay})
	testutil.Eventually(t, "the connections", func() bool { return s.connections() == 4 && len(s.text()) == 4 })
	if err := b.d.apply(detector.Policy{}, Defaults(), lists{addresses: prefixes("127.9.9.9/32")}); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []*struct {
		name string
		wait func() (syscall.Signal, int)
		pid  int
	}{
		{"a banned address", func() (syscall.Signal, int) { return ended(banned) }, banned.Process.Pid},
		{"a mapped one", func() (syscall.Signal, int) { return ended(mapped) }, mapped.Process.Pid},
		{"a connected datagram socket", func() (syscall.Signal, int) { return ended(datagram) }, datagram.Process.Pid},
	} {
		if signal, _ := cmd.wait(); signal != syscall.SIGKILL {
			t.Errorf("%s: killed by %v", cmd.name, signal)
		}
		if l := b.line(cmd.pid); l["action"] != "killed" || l["older"] != true || !strings.HasPrefix(l["rule"].(string), "the test's 127.9.9.9/32") {
			t.Errorf("%s: %v", cmd.name, l)
		}
	}
	if l := b.line(proxy.Process.Pid); l["action"] != "observed" || l["spared"] != "forwarder" {
		t.Error(l)
	}
	for _, cmd := range []*exec.Cmd{other, proxy} {
		must(cmd.Process.Signal(syscall.SIGTERM))
		if signal, status := ended(cmd); signal != syscall.SIGTERM {
			t.Errorf("another address, or a forwarder: killed by %v, status %d", signal, status)
		}
	}
}
