package container

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

// errAbsent is of a socket that is not there: a runtime that this host does not
// have, or not now.
var errAbsent = errors.New("no such socket")

// A socket is the address of a runtime: a path of the host.
type socket struct {
	root string // directory that is the root of the host
	path string
	// shared says that others than the host may put something else in its place.
	shared bool
}

// dial connects to what the path leads to now. All its symbolic links are those
// of the host. The error is errAbsent where there is no socket.
//
// The agent sees the host's files below a directory that may have a long name,
// and an address has 108 bytes at most: hence the way by a descriptor.
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

// open returns a descriptor that stands for the socket, without connecting.
func (s socket) open() (*os.File, error) {
	root, err := unix.Open(s.root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the root of the host, %s: %w", s.root, err)
	}
	defer unix.Close(root)
	fd, err := s.openBelow(root)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return nil, errAbsent
	case err != nil:
		return nil, err
	}
	f := os.NewFile(uintptr(fd), s.path)
	info, err := f.Stat()
	if err == nil && info.Mode().Type() != os.ModeSocket {
		err = errAbsent
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openBelow opens the path below a directory. A socket that others than the host make is
// no link: one could lead into a file system that never answers, and a thread that waits
// there for a FUSE daemon cannot be ended.
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

// there tells whether the socket exists.
func (s socket) there() bool {
	f, err := s.open()
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// Found returns which of these sockets exist. root is as in Options.
func Found(root string, sockets []string) []string {
	return slices.DeleteFunc(slices.Clone(sockets), func(path string) bool { return !socket{root: root, path: path}.there() })
}
