package bpflist

import (
	"errors"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A kernel answers each read with the next text, or error.
type kernel struct{ answers []any }

// Read implements io.Reader.
func (k *kernel) Read(b []byte) (int, error) {
	if len(k.answers) == 0 {
		return 0, io.EOF
	}
	next := k.answers[0]
	k.answers = k.answers[1:]
	if err, failed := next.(error); failed {
		return 0, &os.PathError{Op: "read", Path: "bpf_iter", Err: err}
	}
	return copy(b, next.(string)), nil
}

func TestAListIsReadToItsEnd(t *testing.T) {
	reads := 0
	k := &kernel{[]any{unix.EAGAIN, "one ", unix.EAGAIN, unix.EAGAIN, "two", unix.EAGAIN}}
	all, err := io.ReadAll(&list{io.NopCloser(k), func() { reads++ }})
	if err != nil || string(all) != "one two" || reads != 7 {
		t.Errorf("%q in %d reads: %v", all, reads, err)
	}
	k = &kernel{[]any{"one", unix.ENOMEM}}
	if all, err := io.ReadAll(&list{ReadCloser: io.NopCloser(k)}); !errors.Is(err, unix.ENOMEM) || string(all) != "one" {
		t.Errorf("%q: %v", all, err)
	}
}
