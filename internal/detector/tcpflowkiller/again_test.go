package tcpflowkiller

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// connectAgain says something harmless on a connection that is followed, ends it, and has its socket
// connect to somebody else, to whom it says p.Says.
func connectAgain(p part) {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	must(err)
	must(unix.Connect(s, sockaddr(p.Other)))
	_, err = unix.Write(s, []byte(`["`+strings.Repeat("x", 4096)))
	must(err)
	must(disconnect(s))
	must(unix.Connect(s, sockaddr(p.Address)))
	_, err = unix.Write(s, []byte(p.Says))
	fmt.Println(err)
	time.Sleep(testutil.Patience(time.Second))
}

func sockaddr(address string) unix.Sockaddr {
	a, err := netip.ParseAddrPort(address)
	must(err)
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// disconnect dissolves a connection: connect(2) with AF_UNSPEC.
func disconnect(s int) error {
	unspecified := &unix.RawSockaddr{}
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(s), uintptr(unsafe.Pointer(unspecified)), unix.SizeofSockaddrInet4)
	if errno != 0 {
		return errno
	}
	return nil
}

// A socket that connects again is at the beginning of another stream.
func TestASocketThatConnectsAgain(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{})
	first, second := newSink(t, "tcp4", "127.0.0.1:0"), newSink(t, "tcp4", "127.0.0.1:0")
	cmd, _ := b.startPart(b.cgroup, part{Name: "connects again", Address: second.Addr().String(), Other: first.Addr().String(), Says: login})
	if signal, _ := ended(cmd); signal != syscall.SIGKILL || second.text() != "" {
		t.Errorf("killed by %v, %q arrives", signal, second.text())
	}
	cmd, _ = b.startPart(b.cgroup, part{Name: "connects again", Address: second.Addr().String(), Other: first.Addr().String(), Says: electrum})
	if signal, status := ended(cmd); signal != 0 || status != exitDone || second.text() != electrum {
		t.Errorf("a client: killed by %v, status %d, %q arrives", signal, status, second.text())
	}
}
