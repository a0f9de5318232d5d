// Package bpflist reads the lists that BPF iterators write.
package bpflist

import (
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// An Iterator is attached to the kernel from Attach to Close. It is safe for concurrent use.
type Iterator struct{ link *link.Iter }

// Attach attaches the program of an iterator. The iterator does not need the program any more.
func Attach(program *ebpf.Program) (*Iterator, error) {
	l, err := link.AttachIter(link.IterOptions{Program: program})
	if err != nil {
		return nil, fmt.Errorf("attaching %v: %w", program, err)
	}
	return &Iterator{l}, nil
}

// Open begins a new list. The caller must close it. progress, if not nil, is called before each
// read of the kernel, each of which takes well below a second.
func (i *Iterator) Open(progress func()) (io.ReadCloser, error) {
	in, err := i.link.Open()
	if err != nil {
		return nil, fmt.Errorf("opening a list: %w", err)
	}
	return &list{in, progress}, nil
}

// Close detaches the iterator. It may be called for nil.
func (i *Iterator) Close() error {
	if i == nil {
		return nil
	}
	return i.link.Close()
}

// A list is read to its end: the kernel ends a read with EAGAIN when the program has left out a million
// objects (MAX_ITER_OBJECTS in kernel/bpf/bpf_iter.c), and the next one goes on from there.
type list struct {
	io.ReadCloser
	progress func()
}

// Read implements io.Reader.
func (l *list) Read(b []byte) (int, error) {
	for {
		if l.progress != nil {
			l.progress()
		}
		n, err := l.ReadCloser.Read(b)
		if !errors.Is(err, unix.EAGAIN) {
			return n, err //nolint:wrapcheck // io.EOF has a meaning
		}
		if n > 0 {
			return n, nil
		}
	}
}
