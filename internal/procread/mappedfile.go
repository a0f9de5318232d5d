package procread

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
)

// A FileID identifies the content of a file, as in stat(2): a file that was written to has
// another one. The kernel's clock for the times ticks every few milliseconds, and up to
// Linux 6.12 two writes within a tick are the same. A store to a shared mapping changes
// the times only if the page was clean: so a page that is written again before it reached
// the disk, by default within 30 seconds, changes without them.
type FileID struct {
	Device, Inode     uint64
	Size              int64
	Changed, Modified int64 // in nanoseconds since 1970
	// Volatile: the file was changed while it was read; or only the first store to a page of
	// a shared mapping of the file changes its times, as with a memfd; or a FUSE file system
	// says what they are, or an overlayfs that a user may have mounted over such a one
	// (mayBeOfUser). On another overlayfs, this is false whatever the file system below it is.
	Volatile bool
}

// MappedFile returns the identity of the file of a mapping, and calls visit with the bytes
// of its ranges, in order and in pieces, until visit returns an error, and returns that.
// Bytes after the end of the file are left out, so the next piece does not adjoin. data is
// valid until visit returns. Without ranges, the file is not opened.
//
// The file is the one that is mapped exactly from m.Start to m.End now, whatever its path,
// also if it was removed. Only a regular file is opened. It is an error if another file is
// mapped there, or if the process executes another program meanwhile. The error is
// process.ErrGone or ErrStuck as in Read, and ErrStuck also if another process has a lease
// on the file, which makes it give that up.
//
// This needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN, in the initial user namespace.
// Without these, only a file is found that is the program of the process or has the path
// m.Path in its root directory. For others, and for files that the agent may not read, the
// error is fs.ErrPermission.
//
// After each 4 MiB, other reads of the owner can have their turn. The limits are MaxRanges
// and MaxBytes.
func (r *Reader) MappedFile(ctx context.Context, h *process.Handle, owner string, m Mapping, ranges []Range, visit func(offset uint64, data []byte) error) (FileID, error) {
	id, err := r.mappedFile(ctx, h, owner, m, ranges, visit)
	if errors.Is(err, unix.EAGAIN) {
		err = fmt.Errorf("%w: %w", ErrStuck, err)
	}
	if err != nil {
		return FileID{}, fmt.Errorf("reading a file that process %d has mapped: %w", h.PID(), err)
	}
	return id, nil
}

func (r *Reader) mappedFile(ctx context.Context, h *process.Handle, owner string, m Mapping, ranges []Range, visit func(offset uint64, data []byte) error) (id FileID, err error) {
	if err := checkRanges(ranges, MaxRanges, MaxBytes); err != nil {
		return FileID{}, err
	}
	if len(m.Path) > maxPath {
		return FileID{}, fmt.Errorf("a path of %d bytes", len(m.Path))
	}
	data := newPieces(ranges, visit)
	known, begins := false, false
	requests := func(yield func(request) bool) {
		all := parts(ranges)
		if data.left == 0 {
			all = slices.Values([][]Range{nil})
		}
		for part := range all {
			begins = true
			if !yield(request{kind: requestFile, mapping: m, ranges: part}) {
				return
			}
		}
	}
	flags, err := r.stream(ctx, h, owner, requests, func(frame []byte) error {
		if !begins || len(frame) == 0 {
			return data.add(frame)
		}
		begins = false
		now, err := decodeFileID(frame)
		switch {
		case err != nil:
			return err
		case known && (now.Device != id.Device || now.Inode != id.Inode):
			return errOtherFile
		case known && now != id: // a process that changes its file again and again is read too
			now.Volatile = true
		}
		id, known = now, true
		return nil
	})
	if err == nil && !known {
		err = errProtocol
	}
	id.Volatile = id.Volatile || flags&endChanged != 0
	return id, err
}

// errOtherFile: another file is mapped there now.
var errOtherFile = errors.New("another file is mapped there now")

// fileIDSize is the length of an encoded FileID: its fields in order, uint64 except for
// the last, uint8.
const fileIDSize = 5*8 + 1

func (f FileID) encode() []byte {
	b := make([]byte, 0, fileIDSize)
	for _, n := range []uint64{f.Device, f.Inode, uint64(f.Size), uint64(f.Changed), uint64(f.Modified)} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	if f.Volatile {
		return append(b, 1)
	}
	return append(b, 0)
}

func decodeFileID(b []byte) (FileID, error) {
	if len(b) != fileIDSize || b[5*8] > 1 {
		return FileID{}, fmt.Errorf("%w: %d bytes of a file's identity", errProtocol, len(b))
	}
	n := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	return FileID{n(0), n(1), int64(n(2)), int64(n(3)), int64(n(4)), b[5*8] == 1}, nil
}
