// Package host opens the host's root directory from inside of a container.
package host

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
)

// dir returns the directory in /proc of a process on the host: of this process's nearest
// ancestor with another mount namespace, which in a container is the runtime's shim, or
// else of the init process. The init process is not the first choice, because a node can
// itself be a container, with its own runtimes.
func dir() string {
	const initDir = "/proc/1"
	own, err := mounts("/proc/self")
	if err != nil {
		return "/proc/self"
	}
	if ns, err := mounts(initDir); err == nil && ns == own {
		return initDir
	}
	for pid := os.Getppid(); pid > 0; {
		dir := process.Dir(pid)
		ns, err := mounts(dir)
		if err != nil {
			break // blocked by a security module
		}
		if ns != own {
			return dir
		}
		if pid, err = process.Parent(pid); err != nil {
			break
		}
	}
	if _, err := mounts(initDir); err != nil {
		return "/proc/self"
	}
	return initDir
}

// Root opens the root directory of the host with O_PATH, for openat2 and /proc/self/fd.
func Root() (*os.File, error) {
	fd, err := unix.Open(dir()+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the root directory of the host: %w", err)
	}
	return os.NewFile(uintptr(fd), "/"), nil
}

// mounts returns the inode number of the mount namespace of a process, given its directory
// in /proc.
func mounts(dir string) (uint32, error) {
	text, err := os.Readlink(dir + "/ns/mnt")
	if err != nil {
		return 0, fmt.Errorf("reading a mount namespace: %w", err)
	}
	var number uint32
	if _, err := fmt.Sscanf(text, "mnt:[%d]", &number); err != nil {
		return 0, fmt.Errorf("parsing the mount namespace %q: %w", text, err)
	}
	return number, nil
}
