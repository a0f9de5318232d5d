// Package rawfile reads and writes files by blocking system calls.
package rawfile

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// A File is a descriptor that is read and written by blocking system calls: nothing is
// gained by Go's poller here.
type File int

func (f File) Read(b []byte) (int, error) {
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

func (f File) Write(b []byte) (int, error) {
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

// Close releases the descriptor.
func (f File) Close() error { return unix.Close(int(f)) }

// Open opens a file for reading.
func Open(path string) (File, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			return -1, &os.PathError{Op: "open", Path: path, Err: err}
		}
		return File(fd), nil
	}
}
