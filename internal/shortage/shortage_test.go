package shortage

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestIs(t *testing.T) {
	for err, want := range map[error]bool{
		unix.ENOMEM: true,
		fmt.Errorf("opening: %w", &os.PathError{Op: "open", Path: "/a", Err: unix.EMFILE}): true,
		errors.Join(io.EOF, unix.ENFILE): true,
		unix.EAGAIN:                      false,
		unix.EACCES:                      false,
		io.EOF:                           false,
	} {
		if Is(err) != want {
			t.Errorf("%v: not %v", err, want)
		}
	}
	if Is(nil) {
		t.Error("no error is a shortage")
	}
}
