package hashwork

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
)

// A programFile is the file that a process has executed.
type programFile struct {
	shown    process.FileID // as stat shows it: that of the overlayfs, if it is on one
	real     process.FileID // that of the file beneath
	size     uint64
	modified int64  // ns since 1970
	magic    uint64 // of the file system of real
}

func decodeProgramFile(b []byte) (programFile, error) {
	var raw learnedProgramFile
	if _, err := binary.Decode(b, binary.NativeEndian, &raw); err != nil {
		return programFile{}, fmt.Errorf("decoding %d bytes of a program's file: %w", len(b), err)
	}
	id := func(f learnedFileId) process.FileID {
		return process.FileID{Inode: f.Inode, Device: f.Device, Generation: f.Generation}
	}
	return programFile{id(raw.Shown), id(raw.Real.Id), raw.Real.Size, int64(raw.Real.ModifiedNs), raw.Real.Magic}, nil
}

// isThat reports whether a file that was searched is the program, with the content that it has now.
// The process chooses what it maps, and can set another program file (PR_SET_MM_EXE_FILE), so it
// could have its own file searched and let another one be learned, such as a shell. Size and time
// alone would not do: a file system in user space shows what it likes, also beneath overlayfs. But
// no file has the device and the inode number of another file in stat. On btrfs, stat shows
// another device, and nothing is learned.
func (f programFile) isThat(searched procread.FileID) bool {
	device := unix.Mkdev(f.shown.Device>>20, f.shown.Device&0xfffff) // MAJOR and MINOR of the kernel
	return searched.Device == device && searched.Inode == f.shown.Inode &&
		searched.Size >= 0 && uint64(searched.Size) == f.size && searched.Modified == f.modified &&
		f.magic != unix.FUSE_SUPER_MAGIC
}

// identify returns the file that a process has executed. The error is process.ErrGone if it has
// ended, or if what it executed is not on a file system of which the file beneath is found.
func (l *learner) identify(pid int) (programFile, error) {
	l.identifying.Lock()
	defer l.identifying.Unlock()
	if err := l.shared.WantedProcess.Set(uint32(pid)); err != nil {
		return programFile{}, fmt.Errorf("setting the process to identify: %w", err)
	}
	list, err := l.iterator.Open()
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

func openIterator(o *learnedShared) (*link.Iter, error) {
	i, err := link.AttachIter(link.IterOptions{Program: o.IdentifyProgram})
	if err != nil {
		return nil, fmt.Errorf("attaching the iterator of programs: %w", err)
	}
	return i, nil
}
