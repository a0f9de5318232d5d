package procread

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestTheActivityOfAProcessIsRead(t *testing.T) {
	r, h := newReader(t), handle(t, os.Getpid())
	before, err := r.Activity(t.Context(), h, "", "")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	const size = 3 << 20
	if err := os.WriteFile("/dev/null", make([]byte, size), 0); err != nil {
		t.Fatal(err)
	}
	after, err := r.Activity(t.Context(), h, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if after.Connections != before.Connections+2 || after.More {
		t.Errorf("connections: %+v, before %+v", after, before)
	}
	if n := after.Written - before.Written; n < size || n > size+1<<20 {
		t.Errorf("%d bytes written, not %d", n, size)
	}
}

// Of a network namespace with two interfaces, one sends to the other.
func TestTheBytesOfANetworkNamespaceAreCounted(t *testing.T) {
	testutil.Privileged(t)
	cmd := exec.Command("sleep", "600")
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	testutil.Start(t, cmd)
	own, err := newReader(t).Activity(t.Context(), handle(t, cmd.Process.Pid), "", "")
	if err != nil || own.HostNetwork || own.Network != 0 {
		t.Errorf("in a new namespace: %+v, %v", own, err)
	}
	host, err := newReader(t).Activity(t.Context(), handle(t, testutil.Sleeper(t).Process.Pid), "", "")
	if err != nil || !host.HostNetwork {
		t.Errorf("in that of init: %+v, %v", host, err)
	}
}

func TestPlacesThatAllMayWriteAreFound(t *testing.T) {
	r, h := newReader(t), handle(t, os.Getpid())
	dir, err := os.MkdirTemp("/", "cryptnono-") //nolint:usetesting // all may write to /tmp
	if err != nil {
		t.Skip("/ cannot be written") // and /tmp is writable itself
	}
	defer os.RemoveAll(dir)
	open, private := filepath.Join(dir, "open"), filepath.Join(dir, "private")
	for path, mode := range map[string]os.FileMode{open: 0o777, private: 0o755, open + "/inner": 0o700} {
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		open + "/x": true, open + "/x (deleted)": true, open + "/inner/x": true, private + "/x": false,
		"/tmp/no such directory/x": true, "/no such directory/x": false, "/usr/bin/x": false, "x": false, "[heap]": false, "": false,
		"/" + string(bytes.Repeat([]byte("../"), 2000)): false,
	} {
		if a, err := r.Activity(t.Context(), h, "", path); err != nil || a.Writable != want {
			t.Errorf("%.100q: %v, %v", path, a.Writable, err)
		}
	}
}

func TestDescriptorsAreCountedUpToALimit(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < maxDescriptors+100 {
		t.Skip("descriptors are limited")
	}
	for range maxDescriptors {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
	}
	if a, err := newReader(t).Activity(t.Context(), handle(t, os.Getpid()), "", ""); err != nil || !a.More {
		t.Errorf("got %+v, %v", a, err)
	}
}
