package hashwork

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Describe returns which files the rule program can search with this process's capabilities.
func (d *Detector) Describe() (string, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return "", fmt.Errorf("reading this process's capabilities: %w", err)
	}
	// Either is sufficient for /proc/PID/map_files: proc_map_files_get_link in fs/proc/base.c.
	for _, c := range []int{unix.CAP_CHECKPOINT_RESTORE, unix.CAP_SYS_ADMIN} {
		if data[c/32].Effective&(1<<(c%32)) != 0 {
			return "searches all executed files", nil
		}
	}
	return "without CAP_CHECKPOINT_RESTORE, files on overlayfs (nearly all in containers) or btrfs may not be found, and libraries that were deleted or replaced are not searched", nil
}
