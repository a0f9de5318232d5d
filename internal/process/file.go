package process

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// A file is a descriptor that is read and written by blocking system calls: nothing is
// gained by Go's poller here.
type file int

func (f file) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(f), b)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		case n == 0 && len(b) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (f file) Write(b []byte) (int, error) {
	written := 0
	for written < len(b) {
		n, err := unix.Write(int(f), b[written:])
		if errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			return written, err
		}
		written += n
	}
	return written, nil
}

func (f file) Close() error { return unix.Close(int(f)) }

// openFile opens a file about a process.
func openFile(path string) (file, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			return -1, &os.PathError{Op: "open", Path: path, Err: err}
		}
		return file(fd), nil
	}
}
