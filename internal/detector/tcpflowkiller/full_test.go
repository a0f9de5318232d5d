package tcpflowkiller

import (
	"fmt"
	"os"
	"sort"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// fill leaves no room for options in a socket, so that nothing can be kept with it, and says p.Says.
func fill(p part) {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	must(err)
	must(unix.Connect(s, sockaddr(p.Address)))
	filter := func(n int) error {
		all := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 20}} // all that comes is let through
		for range n {
			all = append(all, unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS})
		}
		all = append(all, all[0])
		return unix.SetsockoptSockFprog(s, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(all)), Filter: &all[0]})
	}
	const most = 4096 - 2 // instructions
	tooLarge := sort.Search(most, func(n int) bool {
		_ = unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
		return filter(n) != nil
	})
	if tooLarge == most {
		os.Exit(exitFailed)
	}
	_ = unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
	must(filter(tooLarge - 1))
	_, err = unix.Write(s, []byte(p.Says))
	fmt.Println(err)
	time.Sleep(testutil.Patience(2 * time.Second))
}

// A miner whose socket has no room for what is remembered of a stream dies as well.
func TestASocketThatIsFull(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{})
	s := newSink(t, "tcp4", "127.0.0.1:0")
	cmd, _ := b.startPart(b.cgroup, part{Name: "fills", Address: s.Addr().String(), Says: login})
	if signal, status := ended(cmd); signal != syscall.SIGKILL || s.text() != "" {
		t.Errorf("killed by %v, status %d, %q arrives", signal, status, s.text())
	}
	if b.counter(bpfOwnCounterSTREAMS_UNKEPT) == 0 {
		t.Error("the socket is not full")
	}
}
