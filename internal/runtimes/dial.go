package runtimes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// errNoSocket: the socket does not exist, so the runtime is not installed or not running.
var errNoSocket = errors.New("no such socket")

// A socket is the address of a runtime: a path on the host.
type socket struct {
	root string // the host's root directory
	path string
	// shared: a pod can replace the socket.
	shared bool
}

// dial connects to the socket. Symbolic links in the path are resolved below root. The
// error is errNoSocket if there is no socket.
//
// It connects through /proc/self/fd, because an address has at most 108 bytes and root can
// have a long path.
func (s socket) dial(ctx context.Context) (net.Conn, error) {
	f, err := s.open()
	if err != nil {
		return nil, fmt.Errorf("opening socket %s: %w", s.path, err)
	}
	defer f.Close()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", s.path, err)
	}
	return conn, nil
}

// open returns an O_PATH descriptor of the socket.
func (s socket) open() (*os.File, error) {
	root, err := unix.Open(s.root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the root of the host, %s: %w", s.root, err)
	}
	defer unix.Close(root)
	fd, err := s.openBelow(root)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return nil, errNoSocket
	case err != nil:
		return nil, err
	}
	f := os.NewFile(uintptr(fd), s.path)
	info, err := f.Stat()
	if err == nil && info.Mode().Type() != os.ModeSocket {
		err = errNoSocket
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openBelow opens the path below a directory. A shared socket must not be a symbolic link:
// that could lead to a FUSE file system that does not answer, which would block a thread
// forever.
func (s socket) openBelow(root int) (int, error) {
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	dir, name := path.Split(strings.TrimLeft(s.path, "/"))
	if !s.shared {
		return unix.Openat2(root, dir+name, &how)
	}
	parent, err := unix.Openat2(root, "./"+dir, &how)
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent)
	how.Flags |= unix.O_NOFOLLOW
	how.Resolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV
	return unix.Openat2(parent, name, &how)
}

// exists reports whether the socket exists.
func (s socket) exists() bool {
	f, err := s.open()
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// Found returns the sockets that exist. root is as in Options.
func Found(root string, sockets []string) []string {
	return slices.DeleteFunc(slices.Clone(sockets), func(path string) bool { return !socket{root: root, path: path}.exists() })
}
