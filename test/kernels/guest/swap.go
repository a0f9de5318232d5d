//go:build linux

package main

import (
	"fmt"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// swapDisk is the guest's only disk: see swap.go of the runner.
const swapDisk = "/dev/nvme0n1"

// swap turns swapping to the disk on or off.
func swap(call uintptr) error {
	disk, err := unix.BytePtrFromString(swapDisk)
	if err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(call, uintptr(unsafe.Pointer(disk)), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// swapOn waits for the disk and turns swap on.
func swapOn() (err error) {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = swap(syscall.SYS_SWAPON); err == nil {
			return nil
		}
	}
	return fmt.Errorf("using %s for swap: %w", swapDisk, err)
}
