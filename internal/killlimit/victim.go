package killlimit

import (
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
)

// slotOf returns the slot of what the kill of a process hits: slot_of_victim in bpf/verdict.h.
func slotOf(p process.Event) uint32 {
	if p.Cgroup.Container.Contained() {
		key := keyOf(p.Cgroup)
		return slot(bpfVictimVICTIM_CGROUP, key.Id^key.Hierarchy<<48)
	}
	uid, inside, err := userOf(p.PID)
	if err != nil {
		uid, inside = p.UID, false // it has ended, most likely
	} else if !inside {
		uid = p.UID
	}
	if uid == 0 && !inside && p.RootOnHost {
		return slot(bpfVictimVICTIM_FILE, p.File.Inode^uint64(p.File.Device)<<24)
	}
	return slot(bpfVictimVICTIM_USER, uint64(uid))
}

// slot is victim_slot in bpf/killlimit.h.
func slot(kind bpfVictim, id uint64) uint32 {
	return uint32((id ^ uint64(kind)<<56) * 0x9e3779b97f4a7c15 >> 58)
}

// userOf returns the user who made the outermost user namespace of a process, and whether it is in
// one: user_of in bpf/killlimit.h.
func userOf(pid int) (uid uint32, inside bool, err error) {
	ns, err := unix.Open(filepath.Join(process.Dir(pid), "ns/user"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, false, fmt.Errorf("opening the user namespace of process %d: %w", pid, err)
	}
	defer func() { _ = unix.Close(ns) }()
	for {
		parent, err := unix.IoctlRetInt(ns, unix.NS_GET_PARENT)
		if errors.Is(err, unix.EPERM) {
			return uid, inside, nil // the agent's own
		}
		if err != nil {
			return 0, false, fmt.Errorf("finding the parent of a user namespace: %w", err)
		}
		owner, err := unix.IoctlGetUint32(ns, unix.NS_GET_OWNER_UID)
		_ = unix.Close(ns)
		ns = parent
		if err != nil {
			return 0, false, fmt.Errorf("finding the owner of a user namespace: %w", err)
		}
		uid, inside = owner, true
	}
}
