package tcpflowkiller

import (
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// ways are the ways to connect and to send of test/victims/ways.c.
var ways = []string{
	"write", "writev", "sendto", "sendmsg", "sendmmsg", "zero copy", "sendfile", "splice", "vmsplice", "bytes", "urgent byte", "more",
	"passed", "inherited", "mptcp",
	"connect nonblocking", "connect in a thread", "fastopen connect", "fastopen",
	"uring connect", "uring connect async", "uring connect sqpoll",
	"uring send", "uring sendmsg", "uring write", "uring writev", "uring send async", "uring write sqpoll",
}

const exitMissing = 77 // of a way that this kernel does not have

// tryAll tries all ways to connect to an address. hit is called for each that this kernel has.
func (b *bed) tryAll(program, host, port string, hit func(way string, signal syscall.Signal)) {
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
	b := newBed(t, bedOptions{})
	for kind, program := range programs(t) {
		for _, host := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1"} {
			listen := "[::]:0"
			if host == "127.0.0.1" {
				listen = "127.0.0.1:0"
			}
			s := newSink(t, "tcp", listen)
			_, port, _ := net.SplitHostPort(s.Addr().String())
			b.tryAll(program, host, port, func(way string, signal syscall.Signal) {
				if signal != syscall.SIGKILL {
					t.Errorf("%s%s to %s: killed by %v", kind, way, host, signal)
				}
				if strings.Contains(s.text(), `subscribe"`) {
					t.Errorf("%s%s to %s: %q arrives", kind, way, host, s.text())
				}
				s.forget()
			})
		}
	}
}

func TestNoWayToConnectGetsThrough(t *testing.T) {
	b := newBed(t, bedOptions{lists: lists{addresses: prefixes("127.9.9.9/32", "::1/128")}})
	for kind, program := range programs(t) {
		for _, host := range []string{"127.9.9.9", "::1", "::ffff:127.9.9.9"} {
			s := newSink(t, "tcp", "[::]:0")
			_, port, _ := net.SplitHostPort(s.Addr().String())
			b.tryAll(program, host, port, func(way string, signal syscall.Signal) {
				if signal != syscall.SIGKILL {
					t.Errorf("%s%s to %s: killed by %v", kind, way, host, signal)
				}
				if s.connections() != 0 {
					t.Errorf("%s%s to %s: connected", kind, way, host)
				}
			})
		}
	}
}
