package agent

import (
	"fmt"
	"log/slog"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/detector"
)

// unneeded returns the capabilities that only detectors need which the policy does not enable.
func unneeded(kinds []detector.Kind, enabled func(name string) bool) (drop []int) {
	var keep []int
	for _, k := range kinds {
		if enabled(k.Name) {
			keep = append(keep, k.Capabilities...)
		} else {
			drop = append(drop, k.Capabilities...)
		}
	}
	return slices.DeleteFunc(drop, func(c int) bool { return slices.Contains(keep, c) })
}

// dropCapabilities drops capabilities for all threads of this process, if it has them, and for
// its children: an exec by root would give them back (no_new_privs in prctl(2)).
func dropCapabilities(drop []int, log *slog.Logger) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("reading this process's capabilities: %w", err)
	}
	before := data
	for _, c := range drop {
		for _, set := range []*uint32{&data[c/32].Effective, &data[c/32].Permitted, &data[c/32].Inheritable} {
			*set &^= 1 << (c % 32)
		}
	}
	if data == before {
		return nil
	}
	if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("setting no_new_privs: %w", errno)
	}
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0); errno != 0 {
		return fmt.Errorf("dropping capabilities: %w", errno)
	}
	log.Info("dropped capabilities that no enabled detector needs: to enable one that needs them, restart the agent", "capabilities", drop)
	return nil
}
