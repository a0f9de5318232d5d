package host

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrNoCgroups means that cgroup v2 is not mounted where systemd mounts it.
var ErrNoCgroups = errors.New("cgroup v2 is mounted neither at /sys/fs/cgroup nor at /sys/fs/cgroup/unified")

// Cgroups opens the root cgroup of the host. Where v1 is in use too, v2 is mounted below.
func Cgroups() (*os.File, error) {
	root, err := Root()
	if err != nil {
		return nil, fmt.Errorf("reaching the host's cgroups: %w", err)
	}
	defer root.Close()
	for _, dir := range []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"} {
		fd, err := unix.Openat(int(root.Fd()), dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		f := os.NewFile(uintptr(fd), dir)
		var fs unix.Statfs_t
		if err := unix.Fstatfs(fd, &fs); err == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
			return f, nil
		}
		_ = f.Close()
	}
	return nil, ErrNoCgroups
}
