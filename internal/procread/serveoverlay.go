package procread

import (
	"bufio"
	"bytes"
	"errors"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/rawfile"
)

// initialUserNamespace is the inode number of the initial user namespace: PROC_USER_INIT_INO.
const initialUserNamespace = 0xEFFFFFFD

// mayBeOfUser reports whether a file is on an overlayfs that may have been mounted in a user namespace.
// What stat shows there is chosen by who has mounted it: since Linux 5.11, and before in some
// distributions, a user can mount one over a FUSE file system.
//
// stat and statfs do not tell. But who mounts something in a mount namespace needs CAP_SYS_ADMIN in the
// user namespace that owns it. So one that is mounted where the process is, in a mount namespace of the
// initial user namespace, is no user's. That is so in containers without a user namespace.
func mayBeOfUser(f rawfile.File, i process.Image) bool {
	var system unix.Statfs_t
	if unix.Fstatfs(int(f), &system) != nil || system.Type != unix.OVERLAYFS_SUPER_MAGIC {
		return false
	}
	var st unix.Statx_t
	if unix.Statx(int(f), "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &st) != nil || st.Mask&unix.STATX_MNT_ID == 0 {
		return true
	}
	dir, err := open(i.Dir(), unix.O_PATH|unix.O_DIRECTORY) // always of this process, also if its pid is reused
	if err != nil {
		return true
	}
	defer dir.Close()
	// The list is of the mount namespace in which the process is now. A process can leave one of the
	// initial user namespace, but not enter it: so it was there if it is there later.
	list, err := openIn(dir, "mountinfo")
	if err != nil {
		return true
	}
	defer list.Close()
	return !isInitial(dir) || !isListed(list, st.Mnt_id)
}

// isInitial reports whether the mount namespace of a process is known to be owned by the initial user
// namespace.
func isInitial(dir rawfile.File) bool {
	mounts, err := openIn(dir, "ns/mnt")
	if err != nil {
		return false
	}
	defer mounts.Close()
	fd, err := unix.IoctlRetInt(int(mounts), unix.NS_GET_USERNS)
	if err != nil {
		return false
	}
	users := rawfile.File(fd)
	defer users.Close()
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Ino == initialUserNamespace
}

// isListed reports whether a mount is in a list as of mountinfo. Only the beginning of a line is kept: that
// of an overlayfs has the paths of all its layers.
func isListed(list rawfile.File, id uint64) bool {
	in, wanted := bufio.NewReaderSize(list, 4096), []byte(strconv.FormatUint(id, 10)+" ")
	for begins := true; ; {
		line, err := in.ReadSlice('\n')
		if begins && bytes.HasPrefix(line, wanted) {
			return true
		}
		if begins = err == nil; err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return false
		}
	}
}

func openIn(dir rawfile.File, path string) (rawfile.File, error) {
	fd, err := unix.Openat(int(dir), path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	return rawfile.File(fd), err //nolint:wrapcheck // the caller knows the path
}
