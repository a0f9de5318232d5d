package procread

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
)

// MaxHashed is the size in bytes of the largest program file that is hashed. 32 MiB take some 0.1 s of
// CPU time without special instructions; of the miners that are known, none is larger.
const MaxHashed = 32 << 20

// A Program is the file that a process executes.
type Program struct {
	FileID
	// Deleted: it has no name any more. Memfd: it never had one.
	Deleted, Memfd bool
	// Writable: all may write to a directory above it, as in Activity. It is false for a memfd.
	Writable bool
	// SHA256 is that of its content, nil if that was not read. Absent is the reason.
	SHA256 []byte
	Absent string
}

// Reasons why a file, or its hash, is absent. docs/logs.md lists them.
const (
	AbsentEnded    = "the process had ended"
	AbsentOther    = "another file is at its path"
	AbsentNoPath   = "it was not found by its path"
	AbsentLarge    = "it is too large"
	AbsentChanged  = "it was changed meanwhile"
	AbsentStuck    = "it could not be read in time"
	AbsentNotRead  = "it could not be read"
	AbsentTooMany  = "too many verdicts"
	AbsentNotKnown = "the path is not known"
)

// A WantedProgram says which file is read.
type WantedProgram struct {
	// Path is where the file is sought: in the root directory of the process or, if it is
	// relative, in its working directory. "" is for the program of the process itself.
	Path string
	// File, unless it is zero, is the file that it must be.
	File process.FileID
	// Known, unless SHA256 is nil, is what was read before. If the file is still the same, it is
	// not read again.
	Known Program
}

// Program reads the program file of a process, or one at a path in its file system: what it is, and its
// hash. opened, if not nil, is called once the file is open: then the process may end.
//
// The file is opened without an effect, as in MappedFile, and only a regular file is read. The
// content stays in the child process. The error means that there is nothing to say about the
// file: process.ErrGone, ErrStuck, or fs.ErrNotExist, or ErrOtherFile.
func (r *Reader) Program(ctx context.Context, h *process.Handle, owner string, w WantedProgram, opened func(Program)) (Program, error) {
	if len(w.Path) > maxPath {
		return Program{}, fmt.Errorf("a path of %d bytes", len(w.Path))
	}
	now, err := process.Current(h.PID())
	if gone := h.Alive(); gone != nil { // or it is the state of another process
		err = gone
	}
	if err != nil {
		return Program{}, fmt.Errorf("reading the program of process %d: %w", h.PID(), err)
	}
	var a programAnswer
	_, err = r.do(ctx, h, owner, request{kind: requestProgram, image: now, names: w.encode()}, func(data []byte) error {
		first, err := a.add(data, w.Known.SHA256)
		if !first {
			return err
		}
		if a.gone = h.Alive(); a.gone == nil && opened != nil {
			opened(a.Program)
		}
		return err
	})
	if !a.known && err != nil && !errors.Is(err, ErrStuck) && h.Alive() != nil {
		err = process.ErrGone
	}
	if err = a.end(err); err != nil {
		return Program{}, fmt.Errorf("reading the program of process %d: %w", h.PID(), err)
	}
	return a.Program, nil
}

// A programAnswer is put together from the frames of an answer.
type programAnswer struct {
	Program
	known bool  // all but the hash
	gone  error // its number may be that of another process
}

// add takes a frame. It returns whether that is the first one. hash is that of the known file.
func (a *programAnswer) add(data, hash []byte) (first bool, err error) {
	switch {
	case len(data) == 0:
	case !a.known:
		a.Program, err = decodeProgram(data)
		a.known = err == nil
		return a.known, err
	case len(data) == 1 && hash != nil:
		a.SHA256 = hash
	case len(data) == sha256.Size && a.SHA256 == nil:
		a.SHA256 = bytes.Clone(data)
	default:
		return false, errProtocol
	}
	return false, nil
}

// end takes the error of the answer. It returns an error if there is nothing to say about the file.
func (a *programAnswer) end(err error) error {
	switch {
	case a.gone != nil:
		return a.gone
	case !a.known && err == nil:
		return errProtocol
	case !a.known && errors.Is(err, unix.ESTALE):
		return ErrOtherFile
	case !a.known:
		return err
	case a.SHA256 != nil:
	case a.Size > MaxHashed:
		a.Absent = AbsentLarge
	case errors.Is(err, unix.ESTALE):
		a.Absent = AbsentChanged
	case errors.Is(err, ErrStuck):
		a.Absent = AbsentStuck
	default:
		a.Absent = AbsentNotRead
	}
	return nil
}

// ErrOtherFile means that the file is not the one that was wanted.
var ErrOtherFile = errors.New("another file is there")

// IsMemfd reports whether the path of a mapping or of a program is that of a memfd, and IsDeleted
// whether it is that of another file without a name. A process can choose a path that looks like one.
func IsMemfd(path string) bool { return strings.HasPrefix(path, "/memfd:") }

// IsDeleted is described at IsMemfd.
func IsDeleted(path string) bool { return !IsMemfd(path) && strings.HasSuffix(path, deleted) }

const deleted = " (deleted)"

// encode returns the names of a request: the path, device and inode of the file, and the identity of
// the known one in hexadecimal.
func (w WantedProgram) encode() []string {
	known := ""
	if w.Known.SHA256 != nil {
		known = hex.EncodeToString(w.Known.FileID.encode())
	}
	device := unix.Mkdev(w.File.Device>>20, w.File.Device&0xfffff) // MAJOR and MINOR of the kernel
	return []string{w.Path, strconv.FormatUint(device, 10), strconv.FormatUint(w.File.Inode, 10), known}
}

// programSize is the length of an encoded Program without its hash.
const programSize = fileIDSize + 1

const (
	programDeleted = 1 << iota
	programMemfd
	programWritable
)

func (p Program) encode() []byte {
	flags := byte(0)
	for flag, on := range map[byte]bool{programDeleted: p.Deleted, programMemfd: p.Memfd, programWritable: p.Writable} {
		if on {
			flags |= flag
		}
	}
	return append(p.FileID.encode(), flags)
}

func decodeProgram(b []byte) (Program, error) {
	if len(b) != programSize || b[fileIDSize] > programDeleted|programMemfd|programWritable {
		return Program{}, fmt.Errorf("%w: %d bytes of a program", errProtocol, len(b))
	}
	id, err := decodeFileID(b[:fileIDSize])
	flags := b[fileIDSize]
	return Program{FileID: id, Deleted: flags&programDeleted != 0, Memfd: flags&programMemfd != 0, Writable: flags&programWritable != 0}, err
}
