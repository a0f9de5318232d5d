package hashwork

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
)

// A programFile is the file that a process has executed.
type programFile struct {
	shown   process.FileID // as stat shows it: that of the overlayfs, if it is on one
	content fileContent    // of the file beneath
	changed int64          // of the file beneath, ns since 1970
	magic   uint64         // of its file system
	ofUser  bool           // an overlayfs above it was mounted in a user namespace
}

// A fileContent identifies the content of a file.
type fileContent struct {
	id       process.FileID
	size     uint64
	modified int64 // ns since 1970
}

func decodeProgramFile(b []byte) (programFile, error) {
	var raw learnedProgramFile
	if _, err := binary.Decode(b, binary.NativeEndian, &raw); err != nil {
		return programFile{}, fmt.Errorf("decoding %d bytes of a program's file: %w", len(b), err)
	}
	r := raw.Real
	return programFile{
		shown: decodeID(raw.Shown), content: fileContent{decodeID(r.Id), r.Size, int64(r.ModifiedNs)},
		changed: int64(r.ChangedNs), magic: r.Magic, ofUser: r.OverlayOfUser != 0,
	}, nil
}

func rawID(id process.FileID) learnedFileId {
	return learnedFileId{Inode: id.Inode, Device: id.Device, Generation: id.Generation}
}

func decodeID(f learnedFileId) process.FileID {
	return process.FileID{Inode: f.Inode, Device: f.Device, Generation: f.Generation}
}

// isThat reports whether a file that was searched is the program, with the content that it has now.
// The process chooses what it maps, and can set another program file (PR_SET_MM_MAP), so it
// could have its own file searched and let another one be learned, such as a shell. Size and time of
// modification alone would not do, since it can set them.
//
// No file has the device and the inode number of another file in stat, but on overlayfs, the copy
// that is made at the first change of a file has those of the original, which a process that has
// opened it before still has. The copy has another ctime, unless the file system beneath shows what
// it likes: so a user's overlayfs is not trusted, nor a file system in user space. On btrfs, stat
// shows another device, and nothing is learned.
//
// Without a generation, as on squashfs and erofs, another file can have the same numbers later, if
// it is in another file system on the same device.
func (f programFile) isThat(searched procread.FileID) bool {
	device := unix.Mkdev(f.shown.Device>>20, f.shown.Device&0xfffff) // MAJOR and MINOR of the kernel
	return searched.Device == device && searched.Inode == f.shown.Inode &&
		searched.Size >= 0 && uint64(searched.Size) == f.content.size &&
		searched.Modified == f.content.modified && searched.Changed == f.changed &&
		f.content.id.Generation != 0 && f.magic != unix.FUSE_SUPER_MAGIC && !f.ofUser
}

// identify returns the file that a process has executed. The error is process.ErrGone if it has
// ended, or if what it executed is not on a file system of which the file beneath is found.
func (l *learner) identify(pid int) (programFile, error) {
	l.identifying.Lock()
	defer l.identifying.Unlock()
	if err := l.shared.WantedProcess.Set(uint32(pid)); err != nil {
		return programFile{}, fmt.Errorf("setting the process to identify: %w", err)
	}
	list, err := l.iterator.Open(nil)
	if err != nil {
		return programFile{}, fmt.Errorf("identifying the program of process %d: %w", pid, err)
	}
	defer list.Close()
	first := make([]byte, binary.Size(learnedProgramFile{})) // all threads have the same
	if _, err := io.ReadFull(list, first); errors.Is(err, io.EOF) {
		return programFile{}, process.ErrGone
	} else if err != nil {
		return programFile{}, fmt.Errorf("identifying the program of process %d: %w", pid, err)
	}
	return decodeProgramFile(first)
}
