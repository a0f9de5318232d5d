package procread

import (
	"encoding/binary"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/rawfile"
)

// A memory reads the memory of a process, but only pages that exist.
type memory struct {
	bytes, pages rawfile.File
	entries      []byte
}

func openMemory(i process.Image) (*memory, error) {
	bytes, err := rawfile.Open(i.Dir() + "/mem")
	if err != nil {
		return nil, err
	}
	pages, err := rawfile.Open(i.Dir() + "/pagemap")
	if err != nil {
		bytes.Close()
		return nil, err
	}
	return &memory{bytes: bytes, pages: pages}, nil
}

func (m *memory) Close() {
	m.bytes.Close()
	m.pages.Close()
}

// A page is an entry in /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst).
type page uint64

// exists reports whether the page is in memory or in swap. Reading another page of a file
// can wait for a FUSE file system, and even SIGKILL does not interrupt that
// (request_wait_answer in fs/fuse/dev.c).
func (p page) exists() bool { return p&(1<<63|1<<62) != 0 }

// private reports whether the page exists, and is not of a file or of shared memory.
func (p page) private() bool { return p.exists() && p&(1<<61) == 0 }

// run returns whether the page at an address is as wanted, and how many of the n bytes
// from there on are in pages of which the same is true.
func (m *memory) run(at uint64, n int, wanted func(page) bool) (is bool, length int) {
	size := uint64(os.Getpagesize())
	first, last := at/size, (at+uint64(n)-1)/size
	if last < first || last >= 1<<60 {
		return false, n
	}
	if length := int(8 * (last - first + 1)); length > cap(m.entries) {
		m.entries = make([]byte, length)
	} else {
		m.entries = m.entries[:length]
	}
	got, err := pread(m.pages, m.entries, 8*first)
	if err != nil {
		got = 0
	}
	clear(m.entries[got:]) // these pages are not of user space
	for i := uint64(0); first+i <= last; i++ {
		this := wanted(page(binary.LittleEndian.Uint64(m.entries[8*i:])))
		if i == 0 {
			is = this
		} else if this != is {
			return is, int((first+i)*size - at)
		}
	}
	return is, n
}

// pread reads at an offset. Errors include offsets that do not fit in an int64.
func pread(f rawfile.File, b []byte, at uint64) (int, error) {
	for {
		n, err := unix.Pread(int(f), b, int64(at))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		default:
			return n, nil
		}
	}
}

// memory sends ranges of a process's memory.
func (s *server) memory(q request) error {
	m, err := openMemory(q.image)
	if err != nil {
		return err
	}
	defer m.Close()
	for _, r := range q.ranges {
		if err := s.memoryRange(m, r); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) memoryRange(m *memory, r Range) error {
	size := uint64(os.Getpagesize())
	for r.Start < r.End {
		b := s.piece(r)
		exists, n := m.run(r.Start, len(b), page.exists)
		if exists {
			var err error
			if n, err = pread(m.bytes, b[:n], r.Start); err != nil || n == 0 {
				// It is gone meanwhile, or of a device.
				exists, n = false, int(min(size-r.Start%size, r.End-r.Start))
			}
		}
		// Without bytes, this keeps the parent from timing out.
		var err error
		if exists {
			err = s.sendPiece(r.Start, n)
		} else {
			err = s.keepAlive()
		}
		if err != nil {
			return err
		}
		r.Start += uint64(n)
	}
	return nil
}
