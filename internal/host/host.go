// Package host finds the host's own files from inside of a container.
package host

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
)

// dir returns the directory in /proc of a process that is outside of our
// container, if we are in one: the nearest of those that started us which has another
// mount namespace, as the runtime's shim has, but not an init or a shell in the
// container. It is the init process if there is none. That one is not the first
// choice, since a node can be a container itself, with runtimes of its own.
func dir() string {
	const initDir = "/proc/1"
	own, err := mounts("/proc/self")
	if err != nil {
		return "/proc/self"
	}
	if its, err := mounts(initDir); err == nil && its == own {
		return initDir
	}
	for pid := os.Getppid(); pid > 0; {
		dir := process.Dir(pid)
		its, err := mounts(dir)
		if err != nil {
			break // a security module forbids it
		}
		if its != own {
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

// Root opens the root directory of the host, whatever our own is. It is good for
// openat2 and for /proc/self/fd.
func Root() (*os.File, error) {
	fd, err := unix.Open(dir()+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the root directory of the host: %w", err)
	}
	return os.NewFile(uintptr(fd), "/"), nil
}

// mounts returns the number of the mount namespace of the process of a directory in /proc.
func mounts(dir string) (uint32, error) {
	text, err := os.Readlink(dir + "/ns/mnt")
	if err != nil {
		return 0, fmt.Errorf("asking for a mount namespace: %w", err)
	}
	var number uint32
	if _, err := fmt.Sscanf(text, "mnt:[%d]", &number); err != nil {
		return 0, fmt.Errorf("parsing the mount namespace %q: %w", text, err)
	}
	return number, nil
}
