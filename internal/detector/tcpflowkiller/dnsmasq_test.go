package tcpflowkiller

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// A real DNS server asks what its clients ask: it is refused what is banned, lives, and serves
// the others. A client of its own machine dies before it.
func TestARealDNSServerLives(t *testing.T) {
	testutil.Privileged(t)
	program, err := filepath.Abs("../../../.cache/bin/dnsmasq")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		if program, err = exec.LookPath("dnsmasq"); err != nil {
			t.Skip("needs dnsmasq: scripts/install-deps")
		}
	}
	resolver(t)
	b := newBed(t, bedOptions{cgroup: podCgroup})
	b.classify()
	const server = "127.77.0.55:53"
	host, _, _ := net.SplitHostPort(server)
	upstream, _, _ := net.SplitHostPort(dns)
	cmd := exec.Command(program, "-k", "-C", "/dev/null", "--listen-address="+host, "--bind-interfaces", "--no-resolv", "--no-hosts",
		"--server="+upstream, "--user=root", "--pid-file=")
	var out strings.Builder
	cmd.Stderr = &out
	b.run(cmd)
	asks := func(name string) (answered bool) {
		c, err := net.Dial("udp", server)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = c.Write([]byte(question(name, false)))
		_ = c.SetReadDeadline(time.Now().Add(testutil.Patience(500 * time.Millisecond)))
		answer := make([]byte, 512)
		n, err := c.Read(answer)
		return err == nil && n > 12 && answer[3]&15 == 0 && answer[7] > 0
	}
	testutil.Eventually(t, "an answer; "+out.String(), func() bool { return asks("www.example.org") })
	if asks("a.kill.test") {
		t.Error("a banned name is answered")
	}
	if l := b.line(cmd.Process.Pid); l["action"] != "refused" || l["spared"] != "forwarder" || l["program"] != "dnsmasq" {
		t.Error(l)
	}
	if !asks("www.example.net") {
		t.Error("others are no longer served")
	}
	client, _ := b.start(order{Asks: []byte(question("a.kill.test", false)), AsksAt: server, Stay: testutil.Patience(5 * time.Second)})
	if signal, _ := ended(client); signal != syscall.SIGKILL {
		t.Errorf("a client that asks: killed by %v", signal)
	}
	// A question for a pool marks no DNS server, so its own connections live.
	if !asks("xmr.minexmr.com") || cmd.Process.Signal(syscall.Signal(0)) != nil {
		t.Error("the name of a pool is not answered")
	}
}
