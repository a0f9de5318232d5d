package container

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
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
	fd, err := unix.Openat2(root, strings.TrimLeft(s.path, "/"), &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
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
	return slices.DeleteFunc(slices.Clone(sockets), func(path string) bool { return !socket{root, path}.there() })
}
