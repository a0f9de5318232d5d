package process

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// hostDir returns the directory in /proc of a process that is outside of our
// container, if we are in one: our parent is the runtime's shim there, and systemd
// or a shell elsewhere.
func hostDir() string {
	dir := procDir(os.Getppid())
	if _, err := os.Readlink(dir + "/ns/mnt"); err != nil {
		return "/proc/self" // a security module keeps it from us
	}
	return dir
}

// HostRoot opens the root directory of the host, whatever our own is. It is good for
// openat2 and for /proc/self/fd.
func HostRoot() (*os.File, error) {
	fd, err := unix.Open(hostDir()+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the root directory of the host: %w", err)
	}
	return os.NewFile(uintptr(fd), "/"), nil
}

// HostMounts returns the number of the host's mount namespace, which MountsOf has
// for the processes in it.
func HostMounts() (uint32, error) { return mounts(hostDir()) }

// MountsOf returns the number of the mount namespace that a process is in.
func MountsOf(pid int) (uint32, error) { return mounts(procDir(pid)) }

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
