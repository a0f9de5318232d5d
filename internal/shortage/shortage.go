// Package shortage tells errors that a machine gives while it is short of something.
package shortage

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// Is reports whether an error says that memory or file descriptors were lacking: the same may succeed
// later. It does not know EAGAIN, which has other meanings as well.
func Is(err error) bool {
	return slices.ContainsFunc([]error{unix.ENOMEM, unix.EMFILE, unix.ENFILE}, func(errno error) bool { return errors.Is(err, errno) })
}
