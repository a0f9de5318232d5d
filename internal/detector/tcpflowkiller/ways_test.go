package tcpflowkiller

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// ways are the ways to connect and to send of test/victims/ways.c.
var ways = []string{
	"write", "writev", "sendto", "sendmsg", "sendmmsg", "zero copy", "sendfile", "splice", "vmsplice", "bytes", "urgent byte", "more",
	"aio", "options", "passed", "inherited", "mptcp",
	"connect nonblocking", "connect in a thread", "fastopen connect", "fastopen",
	"uring connect", "uring connect async", "uring connect sqpoll",
	"uring send", "uring sendmsg", "uring write", "uring writev", "uring send async", "uring write sqpoll",
	"uring fixed", "uring zero copy",
}

// datagrams are the ways to send without a connection.
var datagrams = []string{"udp sendto", "udp connect", "udp sendmmsg", "raw tcp", "raw other"}

const exitMissing = 77 // of a way that this kernel does not have

// tryAll tries all ways to connect to an address. hit is called for each that this kernel has.
func (b *bed) tryAll(ways []string, program, host, port string, hit func(way string, signal syscall.Signal)) {
	b.t.Helper()
	missing := 0
	for _, way := range ways {
		cmd := b.run(exec.Command(program, way, host, port))
		signal, status := ended(cmd)
		if status == exitMissing {
			b.t.Logf("%s: not in this kernel", way)
			missing++
			continue
		}
		hit(way, signal)
	}
	if missing > len(ways)/2 {
		b.t.Errorf("only %d ways were tried", len(ways)-missing)
	}
}

func programs(t *testing.T) map[string]string {
	all := map[string]string{"": testutil.BuildC(t, "test/victims/ways.c")}
	if runtime.GOARCH == "amd64" && os.Getenv("CRYPTNONO_VICTIMS") == "" {
		all["32-bit "] = testutil.BuildC(t, "test/victims/ways.c", "-m32", "-isystem", "/usr/include/x86_64-linux-gnu")
	}
	return all
}

func TestNoWayToSendGetsThrough(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{})
	for kind, program := range programs(t) {
		for _, host := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1"} {
			listen := "[::]:0"
			if host == "127.0.0.1" {
				listen = "127.0.0.1:0"
			}
			s := newSink(t, "tcp", listen)
			_, port, _ := net.SplitHostPort(s.Addr().String())
			b.tryAll(ways, program, host, port, func(way string, signal syscall.Signal) {
				if signal != syscall.SIGKILL {
					t.Errorf("%s%s to %s: killed by %v", kind, way, host, signal)
				}
				if strings.Contains(s.text(), "}") { // the end of the call
					t.Errorf("%s%s to %s: %q arrives", kind, way, host, s.text())
				}
				s.forget()
			})
		}
	}
}

func TestNoWayToConnectGetsThrough(t *testing.T) {
	b := newBed(t, bedOptions{lists: lists{addresses: prefixes("127.9.9.9/32", "::1/128")}})
	seen := sniff(t)
	c, err := net.Dial("udp", "127.9.9.8:9") // allowed: the sniffer sees it
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write([]byte("x"))
	testutil.Eventually(t, "its packet", func() bool { return seen.to("127.9.9.8") > 0 })
	for kind, program := range programs(t) {
		for _, host := range []string{"127.9.9.9", "::1", "::ffff:127.9.9.9"} {
			s := newSink(t, "tcp", "[::]:0")
			_, port, _ := net.SplitHostPort(s.Addr().String())
			b.tryAll(append(slices.Clone(ways), datagrams...), program, host, port, func(way string, signal syscall.Signal) {
				if signal != syscall.SIGKILL {
					t.Errorf("%s%s to %s: killed by %v", kind, way, host, signal)
				}
				if s.connections() != 0 {
					t.Errorf("%s%s to %s: connected", kind, way, host)
				}
				if n := seen.to(host); n != 0 {
					t.Errorf("%s%s to %s: %d packets leave", kind, way, host, n)
				}
			})
		}
	}
}

// A sniffer sees the packets on the loopback, also those of other cgroups.
type sniffer struct {
	t      *testing.T
	socket int
	counts map[netip.Addr]int
}

func sniff(t *testing.T) *sniffer {
	t.Helper()
	const all = 0x0300 // ETH_P_ALL, in network byte order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, all)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	lo, err := net.InterfaceByName("lo")
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: lo.Index})
	}
	if err != nil {
		t.Fatal(err)
	}
	return &sniffer{t, fd, make(map[netip.Addr]int)}
}

// to returns the number of packets to an address since the last call for it.
func (s *sniffer) to(host string) int {
	s.t.Helper()
	buf := make([]byte, 64)
	for {
		n, _, err := unix.Recvfrom(s.socket, buf, 0)
		if errors.Is(err, unix.EAGAIN) {
			break
		} else if err != nil {
			s.t.Fatal(err)
		}
		var a netip.Addr
		switch {
		case n >= 20 && buf[0]>>4 == 4:
			a, _ = netip.AddrFromSlice(buf[16:20])
		case n >= 40 && buf[0]>>4 == 6:
			a, _ = netip.AddrFromSlice(buf[24:40])
		}
		s.counts[a]++
	}
	a := netip.MustParseAddr(host).Unmap()
	n := s.counts[a]
	delete(s.counts, a)
	return n
}

// connect connects as the address says, which package net does not if it is none.
func connect(p part) {
	a := sockaddr(p.Address)
	family := unix.AF_INET
	if _, v6 := a.(*unix.SockaddrInet6); v6 {
		family = unix.AF_INET6
	}
	s, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	must(err)
	must(unix.Connect(s, a))
}

// The kernel takes no address for the loopback.
func TestNoAddressIsTheLoopback(t *testing.T) {
	b := newBed(t, bedOptions{lists: lists{addresses: prefixes("127.0.0.1/32", "::1/128")}})
	for _, address := range []string{"0.0.0.0", "::"} {
		s := newSink(t, "tcp", "[::]:0")
		_, port, _ := net.SplitHostPort(s.Addr().String())
		cmd, _ := b.startPart(b.cgroup, part{Name: "connects", Address: net.JoinHostPort(address, port)})
		if signal, status := ended(cmd); signal != syscall.SIGKILL || s.connections() != 0 {
			t.Errorf("%s: killed by %v, status %d", address, signal, status)
		}
	}
}
