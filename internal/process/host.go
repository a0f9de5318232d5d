package process

import (
	"fmt"
	"os"
)

// HostDir returns the directory in /proc of a process that is outside of our
// container, if we are in one: our parent is the runtime's shim there, and systemd
// or a shell elsewhere. What it has as its root is the root of the host.
func HostDir() string {
	dir := procDir(os.Getppid())
	if _, err := os.Readlink(dir + "/ns/mnt"); err != nil {
		return "/proc/self" // a security module keeps it from us
	}
	return dir
}

// HostMounts returns the number of the host's mount namespace.
func HostMounts() (uint32, error) { return mounts(HostDir()) }

// InHostMounts reports whether a process is in the mount namespace of the host.
func InHostMounts(pid int) bool {
	host, err1 := HostMounts()
	its, err2 := mounts(procDir(pid))
	return err1 == nil && err2 == nil && its == host
}

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
