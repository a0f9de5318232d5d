package procread

import (
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestTheConnectionsOfANetworkNamespaceAreRead(t *testing.T) {
	testutil.Privileged(t)
	runtime.LockOSThread() // it ends with the test, and its namespace too
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	raiseLoopback(t)
	cmd := testutil.Start(t, exec.Command("sleep", "600"))
	h := handle(t, cmd.Process.Pid)
	var want []string
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for range 2 {
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			want = append(want, c.LocalAddr().String()+" "+l.Addr().String()+" established")
		}
	}
	r := newReader(t)
	all, err := r.Connections(t.Context(), h, "")
	if err != nil || all.HostNetwork || all.More {
		t.Fatalf("got %+v, %v", all, err)
	}
	got := make(map[string]bool)
	for _, c := range all.List {
		got[c.Local.String()+" "+c.Remote.String()+" "+c.StateName()] = true
	}
	for _, line := range want {
		if !got[line] {
			t.Errorf("%s is missing in %v", line, got)
		}
	}
	if host, err := r.Connections(t.Context(), handle(t, os.Getpid()), ""); err != nil || !host.HostNetwork || host.List != nil {
		t.Errorf("of the host: %+v, %v", host, err)
	}
}

func raiseLoopback(t *testing.T) {
	t.Helper()
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	lo.SetUint16(unix.IFF_UP)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		t.Fatal(err)
	}
}

func TestManyConnectionsAreBounded(t *testing.T) {
	line := "   1: 0100007F:1F90 0200007F:0D05 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0"
	c, ok := parseConnection(line)
	if !ok || c.Local.String() != "127.0.0.1:8080" || c.Remote.String() != "127.0.0.2:3333" || c.StateName() != "established" {
		t.Errorf("got %+v, %v", c, ok)
	}
	for _, line := range []string{
		"", "sl local_address rem_address st", "1: 0100007F:1F90 00000000:0000 0A", "1: 01007F:1F90 00000000:0000 01",
		"1: 0100007F:1F90 00000000:10000 01", "1: 0100007F:1F90 xx000000:0000 01", "1: 0100007F:1F90 00000000:0000 100",
	} {
		if c, ok := parseConnection(line); ok {
			t.Errorf("%q is taken for %+v", line, c)
		}
	}
	full := Connections{List: make([]Connection, maxConnections)}
	for i := range full.List {
		full.List[i] = c
	}
	if got, err := decodeConnections(full.encode()); err != nil || len(got.List) != maxConnections || got.List[1] != c {
		t.Errorf("got %+v, %v", got, err)
	}
	full.List = append(full.List, c)
	if got, err := decodeConnections(full.encode()); err == nil {
		t.Errorf("too many are accepted: %+v", got)
	}
}
