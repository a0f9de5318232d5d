package procread

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/rawfile"
)

// file sends the identity of a mapped file, and then ranges of it. It returns flags for
// frameEnd.
func (s *server) file(q request) (flags byte, err error) {
	found, err := findFile(q.image, q.mapping)
	if err != nil {
		return 0, err
	}
	defer found.Close()
	ofUser := mayBeOfUser(found, q.image)
	id, err := identify(found, ofUser)
	if err != nil {
		return 0, err
	}
	if len(q.ranges) == 0 {
		return 0, s.out.write(frameData, id.encode())
	}
	// Opening something else could wait, or do something: rewind a tape. With O_NONBLOCK,
	// open does not wait until another process has given up a lease.
	link := "/proc/self/fd/" + strconv.Itoa(int(found))
	f, err := open(link, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	// Opening a file of a network file system can update what is known of it.
	if id, err = identify(f, ofUser); err != nil {
		return 0, err
	}
	if err := s.out.write(frameData, id.encode()); err != nil {
		return 0, err
	}
	for _, r := range q.ranges {
		if err := s.fileRange(f, r); err != nil {
			return 0, err
		}
	}
	if now, err := identify(f, ofUser); err != nil {
		return 0, err
	} else if now != id {
		flags = endChanged
	}
	return flags, nil
}

func (s *server) fileRange(f rawfile.File, r Range) error {
	for r.Start < r.End {
		n, err := pread(f, s.piece(r), r.Start)
		switch {
		case err != nil:
			return fmt.Errorf("reading at %d: %w", r.Start, err)
		case n == 0:
			return nil
		}
		if err := s.sendPiece(r.Start, n); err != nil {
			return err
		}
		r.Start += uint64(n)
	}
	return nil
}

// identify returns the identity of a regular file, and an error for any other. ofUser is what mayBeOfUser
// says of it, which is asked once: the process can end meanwhile.
func identify(f rawfile.File, ofUser bool) (FileID, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f), &st); err != nil {
		return FileID{}, fmt.Errorf("stat: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return FileID{}, fmt.Errorf("not a regular file, but of mode %#o", st.Mode)
	}
	var system unix.Statfs_t
	err := unix.Fstatfs(int(f), &system)
	volatile := err != nil || ofUser
	switch system.Type {
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC, unix.HUGETLBFS_MAGIC, unix.FUSE_SUPER_MAGIC:
		volatile = true
	}
	return FileID{st.Dev, st.Ino, st.Size, st.Ctim.Nano(), st.Mtim.Nano(), volatile}, nil
}

// findFile returns a descriptor of a mapped file with O_PATH, which does not open the file.
func findFile(i process.Image, m Mapping) (rawfile.File, error) {
	id := i.PID
	if i.TID != 0 { // there is no such directory in task/TID
		id = i.TID
	}
	name := process.Dir(id) + "/map_files/" + strconv.FormatUint(m.Start, 16) + "-" + strconv.FormatUint(m.End, 16)
	f, err := open(name, unix.O_PATH)
	if errors.Is(err, unix.EPERM) {
		return findSame(i, m)
	}
	return f, err
}

// isFileOf reports whether a mapping is of this file, and closes it if not.
func isFileOf(f rawfile.File, m Mapping) bool {
	var st unix.Stat_t
	err := unix.Fstat(int(f), &st)
	if err == nil && st.Dev == m.Device && st.Ino == m.Inode {
		return true
	}
	f.Close()
	return false
}

// findSame is findFile for a process that may not use map_files.
func findSame(i process.Image, m Mapping) (rawfile.File, error) {
	f, err := open(i.Dir()+"/exe", unix.O_PATH)
	if err == nil && isFileOf(f, m) {
		return f, nil
	}
	root, err := open(i.Dir()+"/root", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, err
	}
	defer root.Close()
	// There was no link in the path. The process may have put one there meanwhile.
	fd, err := unix.Openat2(int(root), strings.TrimPrefix(m.Path, "/"), &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS,
	})
	if err == nil && isFileOf(rawfile.File(fd), m) {
		return rawfile.File(fd), nil
	}
	return -1, fmt.Errorf("finding the file without CAP_CHECKPOINT_RESTORE: %w", unix.EPERM)
}

func open(path string, flags int) (rawfile.File, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return -1, &os.PathError{Op: "open", Path: path, Err: err}
		default:
			return rawfile.File(fd), nil
		}
	}
}
