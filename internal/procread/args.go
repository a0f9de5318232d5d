package procread

import (
	"encoding/binary"
	"fmt"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/rawfile"
)

// maxTitle is how much is read of an argument area that is larger than any exec can
// create: the process has set it with prctl.
const maxTitle = 64 << 10

// args sends the argument area and returns flags for frameEnd.
func (s *server) args(q request) (flags byte, err error) {
	f, err := rawfile.Open(q.image.Dir() + "/cmdline")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	limit, size := MaxArgsBytes, q.image.ArgEnd-q.image.ArgStart
	var check *argCheck
	switch {
	case q.image.ArgStart > q.image.ArgEnd, size > MaxArgsBytes:
		limit = maxTitle
	case q.image.Stack == 0 || q.image.Stack >= 1<<62, q.image.EnvStart != q.image.ArgEnd, q.flags&requestNoMemory != 0:
		// The arguments of the exec cannot be distinguished from a title.
	default:
		if check, err = s.newArgCheck(q.image); err != nil {
			return 0, err
		}
	}
	read := 0
	err = s.read(f, limit, func(chunk []byte) error {
		read += len(chunk)
		if check != nil {
			check.add(chunk)
		}
		return s.out.write(frameData, chunk)
	})
	if err != nil {
		return 0, fmt.Errorf("reading cmdline: %w", err)
	}
	if read == limit {
		var more [1]byte
		if n, _ := f.Read(more[:]); n > 0 {
			flags |= endTruncated
		}
	}
	if !check.original() {
		flags |= endRewritten
	}
	return flags, nil
}

// An argCheck checks whether the bytes of an argument area are those of the exec.
//
// The exec leaves pointers to all arguments on the stack, which few programs change. A
// title that is written over the arguments ends with NULs, so a pointer then leads into
// the middle of the title or to a NUL in a row of NULs; or the program has changed the
// pointers, as PostgreSQL and nginx do.
//
// A program may change the order of the pointers, as getopt_long does, or remove the
// first ones, as ld.so does when it is started with a program as its argument. It may
// overwrite an argument such as a password by "x" and NULs, as miners do.
type argCheck struct {
	start   []uint64 // one bit for each byte of the area: an argument starts here
	length  int
	at      int  // number of bytes added
	began   bool // the first argument was reached
	hidden  bool // the current argument was overwritten by "x" and NULs
	last    byte
	changed bool
}

// newArgCheck reads the pointers. It returns nil if they are not those of an exec.
func (s *server) newArgCheck(i process.Image) (*argCheck, error) {
	length := i.ArgEnd - i.ArgStart
	stack, err := openStack(i)
	if err != nil {
		return nil, nil
	}
	defer stack.Close()
	var head [8]byte
	if !stack.read(head[:]) {
		return nil, nil
	}
	// A 32-bit program has its stack below 4 GiB, and 32-bit words in it.
	word, argc := 8, binary.LittleEndian.Uint64(head[:])
	if i.Stack < 1<<32 && argc > 1<<32 {
		word, argc = 4, argc&(1<<32-1)
		stack.at -= 4
	}
	if argc > length {
		return nil, nil
	}
	c := newArgCheckOf(int(length))
	for left := int(argc); left > 0; {
		chunk := s.chunk[:min(left*word, len(s.chunk))]
		if !stack.read(chunk) {
			return nil, nil
		}
		for b := chunk; len(b) > 0; b = b[word:] {
			pointer := uint64(binary.LittleEndian.Uint32(b))
			if word == 8 {
				pointer = binary.LittleEndian.Uint64(b)
			}
			if !c.addPointer(pointer - i.ArgStart) {
				return nil, nil
			}
		}
		left -= len(chunk) / word
		if err := s.keepAlive(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func newArgCheckOf(length int) *argCheck {
	return &argCheck{start: make([]uint64, (length+63)/64), length: length}
}

// addPointer adds the offset of an argument. It returns false if that is invalid.
func (c *argCheck) addPointer(at uint64) bool {
	if at >= uint64(c.length) || c.start[at/64]&(1<<(at%64)) != 0 {
		return false
	}
	c.start[at/64] |= 1 << (at % 64)
	return true
}

// add adds the next bytes of the area.
func (c *argCheck) add(chunk []byte) {
	for _, b := range chunk {
		if c.at >= c.length {
			c.changed = true
			return
		}
		starts := c.start[c.at/64]&(1<<(c.at%64)) != 0
		switch {
		case starts && c.at > 0 && c.last != 0:
			c.changed = true
		case starts:
			c.began, c.hidden = true, false
		case c.began && c.last == 0 && !c.hidden:
			c.changed = true
		}
		if b == 0 && c.last == 'x' && c.startsAt(c.at-1) {
			c.hidden = true
		}
		c.last = b
		c.at++
	}
}

// startsAt reports whether an argument starts at a byte.
func (c *argCheck) startsAt(at int) bool { return c.start[at/64]&(1<<(at%64)) != 0 }

// original reports whether the added bytes are the whole area and pass all checks. A
// title of the same length as the string that it replaces is not detected.
func (c *argCheck) original() bool {
	if c == nil || c.changed || c.at != c.length {
		return false
	}
	return c.length == 0 || c.began && c.last == 0
}

// A stack reads the memory of a process from the stack pointer that exec has set.
type stack struct {
	*memory
	at uint64
}

func openStack(i process.Image) (*stack, error) {
	m, err := openMemory(i)
	if err != nil {
		return nil, err
	}
	return &stack{m, i.Stack}, nil
}

// read reads the next bytes. It returns false if a page of them is not private anonymous
// memory that exists.
func (s *stack) read(b []byte) bool {
	if private, n := s.run(s.at, len(b), page.private); !private || n < len(b) {
		return false
	}
	n, err := pread(s.bytes, b, s.at)
	s.at += uint64(len(b))
	return err == nil && n == len(b)
}
