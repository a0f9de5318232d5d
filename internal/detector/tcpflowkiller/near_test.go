package tcpflowkiller

import (
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// fetch asks for a pool's name, as a service does that fetches what others want, and sends p.Sends to a
// server at p.Address, in a network namespace of its own that has this address. It exits with
// exitRefused if that does not arrive.
func fetch(p part) {
	runtime.LockOSThread()
	must(syscall.Unshare(syscall.CLONE_NEWNET))
	host, _, err := net.SplitHostPort(p.Address)
	must(err)
	addLocal("lo:0", host)
	resolver, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	must(err)
	must(unix.Sendto(resolver, []byte(question("minexmr.com", false)), 0, sockaddr(net.JoinHostPort(host, "53"))))
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	must(err)
	must(unix.Bind(l, sockaddr(p.Address)))
	must(unix.Listen(l, 1))
	c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	must(err)
	must(unix.Connect(c, sockaddr(p.Address)))
	server, _, err := unix.Accept(l)
	must(err)
	_, err = unix.Write(c, p.Sends)
	must(err)
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(server), Events: unix.POLLIN}}, int(testutil.Patience(1e9).Milliseconds()))
	must(err)
	if n == 0 {
		os.Exit(exitRefused)
	}
}

// Who has a service ask for a pool's name does not cut it off from its database.
func TestAServerOfOnesOwnNetworkIsNoPool(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{cgroup: podCgroup})
	b.classify()
	for address, want := range map[string]int{"10.77.0.1:6379": exitDone, "198.51.100.1:6379": exitRefused} {
		cmd, _ := b.startPart(b.cgroup, part{Name: "fetches", Address: address, Sends: []byte(testutil.ClientHello(t, "127.0.0.1"))})
		if signal, status := ended(cmd); signal != 0 || status != want {
			t.Errorf("to %s: killed by %v, status %d", address, signal, status)
		}
		if all := b.lines(cmd.Process.Pid); want == exitDone && len(all) != 0 {
			t.Error(all)
		}
	}
}
