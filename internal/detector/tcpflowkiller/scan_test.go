package tcpflowkiller

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// A shape is what a process tries to reach, in a network namespace of its own where the public
// addresses 203.0.113.0/24 and 198.51.100.0/24 are its own: a port with a listener answers, one
// whose listener is full does not, and others refuse.
type shape struct {
	Serves          bool  // only listens
	Answers, Silent []int // ports
	Targets         []string
	Pause           time.Duration
	Reopens         bool // close each connection, as a client does that is done
}

const scanVariable = "CRYPTNONO_TEST_SCAN"

func scanPublic(text string) {
	var s shape
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		panic(err)
	}
	if s.Serves {
		servePublic(s)
	}
	runtime.LockOSThread()
	must(syscall.Unshare(syscall.CLONE_NEWNET))
	for i, a := range []string{"203.0.113.1", "198.51.100.1"} {
		addLocal(fmt.Sprintf("lo:%d", i), a)
	}
	// In a process of its own, since one that listens is a server.
	s.Serves = true
	served, err := json.Marshal(s)
	must(err)
	program, err := os.Executable()
	must(err)
	server := exec.Command(program)
	server.Env = append(os.Environ(), scanVariable+"="+string(served))
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := server.StdoutPipe()
	must(err)
	must(server.Start())
	_, err = out.Read(make([]byte, 1))
	must(err)
	for _, target := range s.Targets {
		fd := connectTo(netip.MustParseAddrPort(target))
		if s.Reopens {
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 100)
			_ = unix.Close(fd)
		}
		time.Sleep(s.Pause)
	}
	time.Sleep(200 * time.Millisecond)
}

// servePublic listens for the scanner until that ends.
func servePublic(s shape) {
	for _, port := range s.Answers {
		listenOn(port, 128)
	}
	for _, port := range s.Silent {
		listenOn(port, 0)
		for range 3 {
			connectTo(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port)))
		}
	}
	fmt.Println("ready")
	time.Sleep(time.Hour)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// addLocal gives the loopback an address, with its network.
func addLocal(name, address string) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	must(err)
	defer unix.Close(fd)
	type request struct {
		name   [unix.IFNAMSIZ]byte
		family uint16
		port   uint16
		addr   [4]byte
		_      [16]byte
	}
	call := func(op uintptr, name string, addr [4]byte, flags uint16) {
		r := request{family: unix.AF_INET, addr: addr}
		copy(r.name[:], name)
		if flags != 0 {
			r.family = flags
		}
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), op, uintptr(unsafe.Pointer(&r))); errno != 0 {
			panic(errno)
		}
	}
	call(unix.SIOCSIFFLAGS, "lo", [4]byte{}, unix.IFF_UP|unix.IFF_RUNNING)
	call(unix.SIOCSIFADDR, name, netip.MustParseAddr(address).As4(), 0)
	call(unix.SIOCSIFNETMASK, name, [4]byte{255, 255, 255, 0}, 0)
}

func listenOn(port, backlog int) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	must(err)
	must(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	must(unix.Bind(fd, &unix.SockaddrInet4{Port: port}))
	must(unix.Listen(fd, backlog))
}

func connectTo(to netip.AddrPort) int {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	must(err)
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	if err != nil && !errors.Is(err, unix.EINPROGRESS) && !errors.Is(err, unix.ECONNREFUSED) {
		panic(err)
	}
	return fd
}

// hosts returns destinations at a port.
func hosts(n, port int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("203.0.113.%d:%d", 1+i, port))
	}
	return all
}

func TestScans(t *testing.T) {
	killing := func(change func(*ScanSettings)) *Settings {
		s := Defaults()
		s.Scan.Action = Kill
		if change != nil {
			change(&s.Scan)
		}
		return s
	}
	old := func(n int) *Settings {
		s := Defaults()
		s.Scan = ScanSettings{Action: Off, WebFactor: 1, Distinct: n, Window: time.Minute}
		return s
	}
	many := func(n int) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprintf("203.0.113.7:%d", 1000+i))
		}
		return all
	}
	private := func(n int) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprintf("127.0.0.%d:22", 1+i))
		}
		return all
	}
	type scan struct {
		name   string
		shape  shape
		action any // nil for no verdict
		rule   string
	}
	refusing := shape{Targets: hosts(30, 445), Pause: time.Millisecond}
	// One bed after the other: scans are seen outside of its cgroup too.
	for _, g := range []struct {
		name     string
		settings *Settings
		scans    []scan
	}{
		{"that are killed", killing(nil), []scan{
			{"a port of many that refuse", refusing, "killed", "unanswered"},
			{"a few that refuse", shape{Targets: hosts(15, 445), Pause: time.Millisecond}, nil, ""},
			{"many at once, without an answer", shape{Silent: []int{4000}, Targets: hosts(60, 4000)}, "killed", "pending"},
			{"many ports of one", shape{Targets: many(40), Pause: time.Millisecond}, "killed", "ports"},
			{"guessing", shape{Answers: []int{22}, Targets: hosts(30, 22), Pause: time.Millisecond, Reopens: true}, "observed", "guessing"},
			{"a browser", shape{Answers: []int{443}, Targets: hosts(80, 443), Pause: time.Millisecond}, nil, ""},
			{"a browser without IPv6", shape{Answers: []int{443}, Targets: append(hosts(40, 443), hosts(20, 80)...), Pause: time.Millisecond}, nil, ""},
			{"private workers", shape{Targets: private(100), Pause: time.Millisecond}, nil, ""},
			{"one that answers, again and again", shape{Answers: []int{443}, Targets: repeat("203.0.113.9:443", 100), Pause: time.Millisecond, Reopens: true}, nil, ""},
			{"one that refuses, again and again", shape{Targets: repeat("203.0.113.9:443", 100), Pause: time.Millisecond}, nil, ""},
		}},
		{"by default", Defaults(), []scan{{"a port of many that refuse", refusing, "observed", "unanswered"}}},
		{"but of a port", killing(func(s *ScanSettings) { s.ExceptPorts = []string{"445"} }), []scan{{"that is excepted", refusing, nil, ""}}},
		{"by the older limit", old(15), []scan{
			{"more", shape{Answers: []int{443}, Targets: hosts(16, 443), Pause: time.Millisecond}, "killed", "distinct"},
			{"as many", shape{Answers: []int{443}, Targets: hosts(15, 443), Pause: time.Millisecond}, nil, ""},
		}},
		{"by an older limit of 200", old(200), []scan{{"more", shape{Answers: []int{443}, Targets: hosts(210, 443)}, "killed", "distinct"}}},
	} {
		t.Run(g.name, func(t *testing.T) {
			b := newBed(t, bedOptions{settings: g.settings})
			for _, c := range g.scans {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					b.scans(t, c.shape, c.action, c.rule)
				})
			}
		})
	}
}

// scans has a process scan, and checks its verdict, nil for none.
func (b *bed) scans(t *testing.T, s shape, action any, rule string) {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), scanVariable+"="+string(text))
	var out strings.Builder
	cmd.Stderr = &out
	b.run(cmd)
	signal, status := ended(cmd)
	if (signal == syscall.SIGKILL) != (action == "killed") || signal == 0 && status != 0 {
		t.Errorf("killed by %v, status %d, %s", signal, status, out.String())
	}
	if action == nil {
		if l := b.lines(cmd.Process.Pid); len(l) > 0 {
			t.Error(l)
		}
		return
	}
	testutil.Eventually(t, "a log line", func() bool { return len(b.lines(cmd.Process.Pid)) > 0 })
	if l := b.lines(cmd.Process.Pid)[0]; l["action"] != action || l["matched"] != rule || l["source"] != "scan" || l["refused"] != false {
		t.Error(l)
	}
}

func repeat(target string, n int) (all []string) {
	for range n {
		all = append(all, target)
	}
	return all
}
