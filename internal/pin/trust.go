package pin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// openDir opens a directory of pins, whose File.Name has no symbolic links. The directory and all that
// is in it must be root's, and only root may be able to write it or to put another one in its place.
// So who can write to a bpffs can neither have an agent remove what others have pinned, nor give it
// objects. A bpffs that is mounted without mode= is such: all may write to it, and it is sticky.
func openDir(path string) (*os.File, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("looking for the directory of pins: %w", err)
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("looking for the directory of pins: %w", err)
	}
	if err := checkParents(parent); err != nil {
		return nil, err
	}
	path = filepath.Join(parent, filepath.Base(path))
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the directory of pins: %w", err)
	}
	info, err := f.Stat()
	if err == nil {
		err = checkTrusted(path, info)
	}
	if err == nil {
		err = checkAll(path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// checkParents checks a directory and those that it is in, up to the root of the bpffs: only root can
// rename what is root's there.
func checkParents(path string) error {
	for ; checkFS(path) == nil && path != "/"; path = filepath.Dir(path) {
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("looking for who can write pins: %w", err)
		}
		if err := checkTrusted(path, info); err != nil && (info.Mode()&fs.ModeSticky == 0 || !isRoots(info)) {
			return err
		}
	}
	return nil
}

// checkAll checks what is in a directory. What another agent removes meanwhile is left out.
func checkAll(path string) error {
	err := filepath.WalkDir(path, func(name string, e fs.DirEntry, err error) error {
		var info fs.FileInfo
		if err == nil {
			info, err = e.Info()
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("looking for who can write pins: %w", err)
		}
		return checkTrusted(name, info)
	})
	return err //nolint:wrapcheck // it says all
}

func isRoots(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && s.Uid == 0
}

// checkTrusted checks that a directory or pin is root's and that only root can write it.
func checkTrusted(path string, info fs.FileInfo) error {
	switch {
	case !isRoots(info):
		return fmt.Errorf("%s is not trusted: it does not belong to root", path)
	case info.Mode().Type()&^fs.ModeDir != 0:
		return fmt.Errorf("%s is not trusted: it is neither a directory nor a pin", path)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s is not trusted: others than root can write it", path)
	}
	return nil
}
